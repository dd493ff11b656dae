# Sourced by the tests of kills and of Slurm: a small drawn cohort, its undisturbed store, and words to report.
. "$(dirname "${BASH_SOURCE[0]}")/expect_lib.bash"

# The cohort is drawn once for all tests that use it, and again when the program is newer.
cohort=${LOB_BINARY_DIR:-/tmp}/test-cohort
study=$cohort/study.yaml
# One test draws it, others that start at the same time wait.
draw_cohort() { (flock 8; draw_cohort_alone) 8>"$cohort.lock" || exit 1; }
draw_cohort_alone() {
  [ "$cohort/calm" -nt "$LOBULE" ] && return
  rm -rf "$cohort"
  "$LOBULE" demo "$cohort" --patients 20 --tiles 50 --centers 3 >"$work/demo.log" 2>&1 &&
    sed -i 's/seeds: 5/seeds: 1/' "$study" &&
    "$LOBULE" plan --output "$cohort/undisturbed" "$study" >>"$work/demo.log" 2>&1 &&
    "$LOBULE" embed --output "$cohort/undisturbed" "$study" >>"$work/demo.log" 2>&1 &&
    digest "$cohort/undisturbed" >"$cohort/calm" && return
  tail -20 "$work/demo.log"
  say "FAILED: no cohort to test with"
  exit 1
}

# A finished part is the same file to the last byte however the work was done: no times, hosts or paths are in it.
digest() { sha256sum <"$1/store/part-0001.h5" 2>/dev/null | cut -c1-16; }
journal_of() { cat "$1/store/part-0001.journal" 2>/dev/null; }
ranges() { journal_of "$1" | grep -c '^range' || true; }
tiles_of() { "$LOBULE" store ls --json "$1/store/part-0001.h5" | sed -n 's/.*"rows": *\([0-9]*\).*/\1/p' | head -1; }
# Rows dealt again, rows that were in flight when a run ended, and rows written again though they were journalled.
# The first may not pass the second, and the third is none.
dealt_again() { journal_of "$1" | awk -F'\t' -v all="$(tiles_of "$1")" '$1 == "lease" { t += $4 } END { print t - all }'; }
in_flight() {
  journal_of "$1" | awk -F'\t' '
    function lost(k) { for (k in open) t += open[k]; delete open }
    $1 == "start" { lost() } $1 == "lease" { open[$2, $3] = $4 } $1 == "range" { delete open[$2, $3] } END { lost(); print t + 0 }'
}
journalled_twice() { journal_of "$1" | awk -F'\t' -v all="$(tiles_of "$1")" '$1 == "range" && $8 != "void" { t += $4 } END { print t - all }'; }
quarantined() { grep -c ',quarantined,' "$1/slides.csv" 2>/dev/null || true; }
