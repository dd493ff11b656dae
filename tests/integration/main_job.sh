#!/bin/bash
# From slides to the page in one command, alone and under mpirun; again without doing it again; and from feature files.
set -eu
. "$LOB_SOURCE/jobs/launch.sh"
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
fail() { echo "main_job: $1" >&2; exit 1; }
tables="folds.csv predictions.csv metrics.csv meta.csv"

launch 2 "$LOBULE" demo "$dir/c" --patients 24 --centers 3 --tiles 12 --seed 3 >"$dir/demo.log" 2>&1 || { cat "$dir/demo.log"; fail "demo failed"; }
"$LOBULE" check "$dir/c/study.yaml" --json >"$dir/check.json" 2>"$dir/check.log" || { cat "$dir/check.log"; fail "check failed"; }
grep -q '"patients": 24' "$dir/check.json" || fail "check --json does not count the patients"

launch 2 "$LOBULE" run "$dir/c/study.yaml" >"$dir/run.log" 2>&1 || { cat "$dir/run.log"; fail "run under mpirun failed"; }
for f in report.html slides.csv provenance.json lock.json status.json $tables; do
  [ -s "$dir/c/out/$f" ] || fail "out/$f is missing or empty"
done
grep -q 'id="discrimination"' "$dir/c/out/report.html" || fail "the page has no discrimination section"
! grep -qE 'https?://' "$dir/c/out/report.html" || fail "the page points outside"
! grep -q 'nan' "$dir/c/out/metrics.csv" || fail "a NaN stands in metrics.csv"

# Again: nothing is done again, nothing changes.
for f in $tables; do cp "$dir/c/out/$f" "$dir/$f.before"; done
parts=$(stat -c %Y "$dir"/c/out/store/*.h5)
launch 2 "$LOBULE" run "$dir/c/study.yaml" >"$dir/again.log" 2>&1 || { cat "$dir/again.log"; fail "the second run failed"; }
[ "$parts" = "$(stat -c %Y "$dir"/c/out/store/*.h5)" ] || fail "a finished part was written again"
for f in $tables; do cmp -s "$dir/c/out/$f" "$dir/$f.before" || fail "$f changed in a run that had nothing to do"; done

# Alone, without a launcher: the same tables to the byte.
"$LOBULE" run "$dir/c/study.yaml" --output "$dir/alone" >"$dir/alone.log" 2>&1 || { cat "$dir/alone.log"; fail "run alone failed"; }
for f in $tables; do cmp "$dir/c/out/$f" "$dir/alone/$f" || fail "$f depends on the number of ranks"; done

# From feature files, without slides.
launch 2 "$LOBULE" demo "$dir/b" --bags --patients 60 --centers 3 --seed 4 >"$dir/bags.log" 2>&1 || { cat "$dir/bags.log"; fail "demo --bags failed"; }
launch 2 "$LOBULE" run "$dir/b/study.yaml" >>"$dir/bags.log" 2>&1 || { cat "$dir/bags.log"; fail "run on features failed"; }
[ -s "$dir/b/out/report.html" ] || fail "no page from feature files"

# Bad input: one message, exit 2, nothing made.
sed 's/^encoder:/encodre:/' "$dir/c/study.yaml" >"$dir/c/typo.yaml"
rc=0; "$LOBULE" run "$dir/c/typo.yaml" --output "$dir/typo" 2>"$dir/typo.log" || rc=$?
[ $rc = 2 ] || fail "a typo in the study file gave exit $rc, not 2"
grep -q 'typo.yaml:.*encodre' "$dir/typo.log" || { cat "$dir/typo.log"; fail "the message does not name the key and line"; }
echo "main_job: slides and features, 1 and 2 ranks, twice, bad input: all as they should be"
