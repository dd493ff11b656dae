#!/bin/bash
# kill -9 of any rank, a reader, the launcher, in the middle of embed; then the same command again: the
# datasets are those of an undisturbed run, and little is done twice.
. "$(dirname "$0")/embed_lib.bash"
study "$work/calm" 6
run 2 "$work/calm" plan && run 2 "$work/calm" embed; rc=$?
expect "undisturbed run" 0 $rc
[ $rc = 0 ] || { tail -5 "$work/calm/log"; finish; }
calm=$(digest "$work/calm/out/store/part-0001.h5")
for victim in 0 1 2 mpirun zygote reader; do
  dir=$work/$victim
  study "$dir" 6
  run 3 "$dir" plan; expect "plan" 0 $?
  begin 3 "$dir"
  await_ranges 3 "$dir"
  case $victim in
    mpirun) pid=$mpirun ;;
    zygote) pid=$(pgrep -P "$(rank_pid 1)" | head -1) ;;
    reader) pid=$(pgrep -P "$(pgrep -P "$(rank_pid 1)" | head -1)" | head -1) ;;
    *) pid=$(rank_pid $victim) ;;
  esac
  kill -KILL $pid || fail "nothing to kill for $victim"
  wait $job; rc=$?
  done_before=$(journalled "$dir")
  [ $rc != 0 ] || [ $victim = reader ] || fail "the job survived the death of $victim"
  say "killed $victim: exit $rc with $done_before ranges journalled"
  for try in 1 2 3; do
    run 3 "$dir" embed; rc=$?
    [ $rc = 0 ] && break
  done
  expect "again after killing $victim" 0 $rc
  expect "datasets after killing $victim" "$calm" "$(digest "$dir/out/store/part-0001.h5")"
  expect "slides quarantined" 0 "$(grep -c ',quarantined,' "$dir/out/slides.csv")"
  twice=$(awk -F'\t' '$1 == "range" && $8 != "void" { t += $4 } END { print t - 588 }' "$dir/out/store/part-0001.journal")
  expect "tiles journalled twice" 0 "$twice"
done
sleep 1
expect "processes left behind" 0 "$(leftovers)"
finish
