# Sourced by the tests of faults: a tiny study beside the cohort's, and running it.
. "$(dirname "$0")/cohort_lib.bash"
draw_cohort
# Three slides of a hundred tiles in all: enough for journals of several ranges, over in a second.
tiny=$cohort/tiny.yaml
draw_tiny() {
  [ ! -e "$cohort/tiny-calm" ] || return 0
  sed 's/^\(cohort: *{slides: \)slides.csv/\1tiny.csv/; s/batch: 16/batch: 4/' "$study" >"$tiny"
  head -5 "$cohort/slides.csv" >"$cohort/tiny.csv"
  "$LOBULE" plan --output "$cohort/tiny-out" "$tiny" >"$work/tiny.log" 2>&1 &&
    "$LOBULE" embed --output "$cohort/tiny-out" "$tiny" >>"$work/tiny.log" 2>&1 || { cat "$work/tiny.log"; say "FAILED: no tiny store"; exit 1; }
  digest "$cohort/tiny-out" >"$cohort/tiny-calm"
}
(flock 8; draw_tiny) 8>"$cohort.lock" || exit 1
run() { # RANKS STAGE OUT [options]: with the whole cohort; its words go to OUT.log
  launch "$1" "$LOBULE" "$2" --output "$3" "${@:4}" "${of:-$study}" >>"$3.log" 2>&1
}
said() { # WHAT PATTERN OUT
  if grep -q "$2" "$3.log"; then say "ok: $1"; else fail "$1: no '$2' in what it said"; tail -3 "$3.log"; fi
}
# Starts embed in the background on RANKS; `job` is the launcher's process, or the rank's own.
begin() { # RANKS OUT
  if [ "$1" = 1 ]; then
    "$LOBULE" embed --output "$2" "${of:-$study}" >>"$2.log" 2>&1 &
  else
    launch "$1" "$LOBULE" embed --output "$2" "${of:-$study}" >>"$2.log" 2>&1 &
  fi
  job=$!
}
await_ranges() { # N OUT: until so many are journalled, or the job is over
  while kill -0 $job 2>/dev/null && [ "$(ranges "$2")" -lt "$1" ]; do sleep 0.02; done
}
# Kills a single rank; its zygote and readers die with it.
cut_power() { kill -KILL $job; wait $job 2>/dev/null; sleep 0.2; }
leftovers() { pgrep -f -c -- "--output $work" || true; }
