#!/bin/bash
# Random kills (coordinator, worker, zygote, reader, launcher) at random moments of plan and embed, each followed
# by the same command: LOB_KILLS of them (8), drawn from LOB_SEED (1). At the end the datasets are those of an
# undisturbed run and no healthy slide was given up.
. "$(dirname "$0")/embed_lib.bash"
kills=${LOB_KILLS:-8}
RANDOM=${LOB_SEED:-1}
study "$work/calm" 6
run 2 "$work/calm" plan && run 2 "$work/calm" embed; rc=$?
expect "undisturbed run" 0 $rc
[ $rc = 0 ] || { tail -5 "$work/calm/log"; finish; }
calm=$(digest "$work/calm/out/store/part-0001.h5")

pick() { # a process of the job under way; empty where it is not there (yet)
  local rank=$((RANDOM % 3)) kind=$((RANDOM % 5)) pid
  pid=$(rank_pid $rank)
  case $kind in
    0) pid=$mpirun ;;
    1) [ -z "$pid" ] || pid=$(pgrep -P "$pid" | head -1) ;;
    2) [ -z "$pid" ] || pid=$(pgrep -P "$(pgrep -P "$pid" | head -1)" 2>/dev/null | head -1) ;;
  esac
  echo "$pid"
}
# Open MPI 4.1's mpirun can hang for ever when a rank is killed inside MPI_Init: all ranks are dead, it stays.
# It is then killed too, as a batch system would at the job's end.
bury_hung_launcher() {
  local still=0
  while kill -0 $job 2>/dev/null && [ $still -lt 50 ]; do
    if ps -o stat= --ppid "$mpirun" 2>/dev/null | grep -qv '^Z'; then still=0; else still=$((still + 1)); fi
    sleep 0.2
  done
  kill -0 $job 2>/dev/null || return 0
  say "note: mpirun hung after all its ranks had died"
  hung=$((hung + 1))
  kill -KILL "$mpirun" 2>/dev/null
}
hung=0
done_kills=0 rounds=0 again=0
while [ $done_kills -lt "$kills" ]; do
  rounds=$((rounds + 1))
  dir=$work/$rounds
  study "$dir" 6
  finished=no
  stage=plan
  for try in $(seq 40); do
    stage_begin 3 "$dir" $stage
    sleep $((RANDOM % 3)).$((RANDOM % 10))
    pid=$(pick)
    if [ $done_kills -lt "$kills" ] && [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null; then
      done_kills=$((done_kills + 1))
    fi
    bury_hung_launcher
    wait $job; rc=$?
    if [ $rc = 0 ] && [ $stage = embed ]; then finished=yes; break; fi
    [ $rc != 0 ] || stage=embed
  done
  expect "round $rounds comes to its end after $try starts" yes $finished
  expect "datasets" "$calm" "$(digest "$dir/out/store/part-0001.h5")"
  expect "slides quarantined" 0 "$(grep -c ',quarantined,' "$dir/out/slides.csv")"
  twice=$(awk -F'\t' '$1 == "range" && $8 != "void" { t += $4 } END { print t - 588 }' "$dir/out/store/part-0001.journal")
  again=$((again + twice))
done
sleep 1
expect "processes left behind" 0 "$(leftovers)"
say "$done_kills kills in $rounds rounds, $again of $((588 * rounds)) journalled rows were done twice, mpirun hung $hung times"
finish
