#!/bin/bash
# Two validations, two trainings, or one of each on one output at the same time: the second is told who has it, and
# the first is not disturbed; a dead one's lock is taken over. And a bare embed takes up slides that have come back.
. "$(dirname "$0")/survive_lib.bash"
"$LOBULE" demo --bags --patients 90 --centers 3 --tiles 24 "$work/bags" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
sed -i 's/^model: .*/model: {kind: abmil, epochs: 12}/; s/seeds: 5/seeds: 2/' "$work/bags/study.yaml"
out=$work/out
hold() { # STAGE: starts it, and stops it where it has the lock
  "$LOBULE" "$1" --output "$out" "$work/bags/study.yaml" >>"$work/first.log" 2>&1 &
  job=$!
  until [ -e "$out/train/lock" ] || ! kill -0 $job 2>/dev/null; do sleep 0.01; done
  kill -STOP $job
}
for pair in "validate validate" "train validate"; do
  read -r first second <<<"$pair"
  rm -rf "$out"
  hold "$first"
  "$LOBULE" "$second" --output "$out" "$work/bags/study.yaml" >"$work/second.log" 2>&1
  expect "$second while $first runs" 2 $?
  grep -q 'in use by process' "$work/second.log" || { fail "does not say who has the output"; tail -2 "$work/second.log"; }
  kill -CONT $job
  wait $job; expect "the first $first" 0 $?
  [ ! -e "$out/train/lock" ] || fail "the lock stays behind"
done
rm -rf "$out"
hold validate
kill -KILL $job; wait $job 2>/dev/null
"$LOBULE" validate --output "$out" "$work/bags/study.yaml" >"$work/second.log" 2>&1; expect "validate past the lock of a dead one" 0 $?
grep -q 'taking over the lock' "$work/second.log" || fail "does not say that a lock was taken over"

# Two slides are away while the rest is planned and embedded, and come back.
mkdir "$work/away"
cp -r "$cohort/slides" "$work/slides"
sed "s|slides: tiny.csv|slides: $work/some.csv|; s|patients: patients.csv|patients: $cohort/patients.csv|" "$tiny" >"$work/some.yaml"
sed "s|,slides/|,$work/slides/|" "$cohort/tiny.csv" >"$work/some.csv"
grep -q "$work/slides/" "$work/some.csv" || fail "the table's paths were not turned"
some() { launch 1 "$LOBULE" "$1" --output "$work/some" "$work/some.yaml" >>"$work/some.log" 2>&1; }
gone=($(tail -n +2 "$work/some.csv" | head -2 | cut -d, -f4))
mv "${gone[@]}" "$work/away/"
some plan; expect "plan without two of its slides" 3 $?
some embed; expect "embed without two of its slides" 3 $?
expect "slides done" 2 "$(grep -c ',done,' "$work/some/slides.csv")"
mv "$work/away/"* "$work/slides/"
some embed; expect "a bare embed once they are back" 0 $?
expect "slides done" 4 "$(grep -c ',done,' "$work/some/slides.csv")"
some embed; expect "once more" 0 $?
expect "parts" 2 "$(find "$work/some/store" -name 'part-*.h5' | wc -l)"
"$LOBULE" store verify "$work/some" >"$work/verify.log" 2>&1; expect "verify" 0 $?
finish
