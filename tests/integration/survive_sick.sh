#!/bin/bash
# A slide that kills its reader every time, and one on which a rank dies every time: they alone are given up, the rest
# completes with exit code 3, and nothing is left behind.
. "$(dirname "$0")/survive_lib.bash"
slides=$(($(wc -l <"$cohort/slides.csv") - 1))
state_of() { awk -F, -v id="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "state") c = i } $1 == id { print $c }' "$2/slides.csv"; }
# The rows of all slides but one, which must be those of the undisturbed store.
rows_without() { # ID OUT
  "$LOBULE" store ls --json "$2/store/part-0001.h5" | awk -v id="$1" -F'"' '/"first"/ { split($0, a, /[:,]/); f = a[2] } /"slide_id"/ { s = $4 } /"tiles"/ { split($0, a, /[:,]/); if (s != id) print f + 0, a[2] + 0 }' |
    while read -r first count; do
      h5dump -d /features -s "$first,0" -c "$count,$dim" -y "$2/store/part-0001.h5" | sed 1d
    done | sha256sum | cut -c1-16
}
command -v h5dump >/dev/null || { echo "skipped: h5dump (hdf5-tools) is missing"; exit 77; }
dim=$("$LOBULE" store ls --json "$cohort/undisturbed/store/part-0001.h5" | sed -n 's/.*"features": *\([0-9]*\).*/\1/p' | head -1)

for when in tile open; do
  out=$work/reader-$when
  LOB_TEST_READER=segv@$when:P00002-S1 run 2 plan "$out"; rc=$?
  [ $when = open ] && wanted=3 || wanted=0
  expect "plan where a slide kills its reader at $when" $wanted $rc
  LOB_TEST_READER=segv@$when:P00002-S1 run 2 embed "$out"; expect "embed where a slide kills its reader at $when" 3 $?
  expect "state of that slide" quarantined "$(state_of P00002-S1 "$out")"
  expect "slides done" $((slides - 1)) "$(grep -c ',done,' "$out/slides.csv")"
  grep '^P00002-S1,' "$out/slides.csv" | grep -q 'signal 11' || fail "its reason does not name the signal"
done
run 1 plan "$out"; expect "plan once more, its file being the same" 3 $?
expect "state of that slide" quarantined "$(state_of P00002-S1 "$out")"
expect "rows of the others" "$(rows_without P00002-S1 "$cohort/undisturbed")" "$(rows_without P00002-S1 "$work/reader-tile")"

# A slide whose opening hangs does not keep a job from stopping (the reader's own limit is a minute).
for stage in plan embed; do
  out=$work/hang-$stage
  [ $stage = plan ] || of=$tiny run 1 plan "$out"
  LOB_TEST_READER=hang@open:P00001-S1 "$LOBULE" $stage --output "$out" "$tiny" >>"$out.log" 2>&1 &
  job=$!
  until grep -qs '^lease.P00001-S1' "$out/plan/plan.journal" "$out/store/part-0001.journal" || ! kill -0 $job 2>/dev/null; do sleep 0.05; done
  sleep 1
  told=$SECONDS
  kill -USR1 $job; wait $job; expect "$stage stopped while a slide's opening hangs" 75 $?
  [ $((SECONDS - told)) -le 10 ] || fail "it took $((SECONDS - told)) s"
  of=$tiny run 1 $stage "$out"; expect "$stage once more" 0 $?
done
expect "store after a stop at opening" "$(cat "$cohort/tiny-calm")" "$(digest "$work/hang-embed")"

# A zygote that dies while plan looks at stains: the job ends, and nothing is written down of a slide it could not look at.
for ranks in 1 2; do
  out=$work/zygote-$ranks of=$tiny
  LOB_TEST_READER=orphan@once:P00002-S1 run $ranks plan "$out"; expect "$ranks ranks: plan whose zygote dies" 1 $?
  said "the cause is named" 'zygote is gone' "$out"
  run $ranks plan "$out"; expect "plan once more" 0 $?
  run $ranks embed "$out"; expect "embed" 0 $?
  expect "store after a zygote's death" "$(cat "$cohort/tiny-calm")" "$(digest "$out")"
done
unset of

# A slide on which plan's rank dies every time, until its file is another one. Its folder is a copy.
cp -r "$cohort/slides" "$work/slides"
sed "s|slides: tiny.csv|slides: $work/some.csv|; s|patients: patients.csv|patients: $cohort/patients.csv|" "$tiny" >"$work/some.yaml"
sed "s|,slides/|,$work/slides/|" "$cohort/tiny.csv" >"$work/some.csv"
for ranks in 1 2; do
  out=$work/planned-$ranks of=$work/some.yaml
  for try in $(seq 9); do
    LOB_TEST_KILL=plan:P00002-S1 run $ranks plan "$out"; rc=$?
    case $rc in 0|2|3) break ;; esac
  done
  expect "$ranks ranks, plan's dies on a slide: last exit code" 3 $rc
  expect "state of that slide" quarantined "$(state_of P00002-S1 "$out")"
  grep '^P00002-S1,' "$out/slides.csv" | grep -q 'died 3 times in a row' || fail "its reason does not tell the deaths"
  expect "slides planned" 3 "$(grep -c ',pending,' "$out/slides.csv")"
  run $ranks embed "$out"; expect "embed of the others" 3 $?
  run $ranks plan "$out"; expect "plan once more" 3 $?
  touch "$work/slides/"*P00002*
  run $ranks plan "$out" && run $ranks embed "$out"; expect "once its file is another one" 0 $?
  expect "slides done" 4 "$(grep -c ',done,' "$out/slides.csv")"
done
unset of

for ranks in 1 3; do
  out=$work/rank-$ranks
  run $ranks plan "$out"; expect "plan" 0 $?
  for try in $(seq 12); do
    LOB_TEST_KILL=embed:P00004-S1 run $ranks embed "$out"; rc=$?
    case $rc in 0|2|3) break ;; esac
  done
  expect "$ranks ranks, one dies on a slide: last exit code" 3 $rc
  expect "$ranks ranks: state of that slide" quarantined "$(state_of P00004-S1 "$out")"
  expect "$ranks ranks: slides done" $((slides - 1)) "$(grep -c ',done,' "$out/slides.csv")"
  expect "$ranks ranks: rows of the others" "$(rows_without P00004-S1 "$cohort/undisturbed")" "$(rows_without P00004-S1 "$out")"
  say "$ranks ranks: given up after $((try - 1)) deaths: $(grep '^P00004-S1,' "$out/slides.csv" | cut -d, -f4-5)"
done
sleep 1
expect "processes left behind" 0 "$(leftovers)"
finish
