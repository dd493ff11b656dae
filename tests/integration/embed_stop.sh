#!/bin/bash
# Stopping: USR1 and walltime end with 75, the halt file with 76, within seconds; TERM or INT to mpirun, which kills its
# ranks, loses nothing that is journalled. The same command goes on and the store is that of an undisturbed run.
. "$(dirname "$0")/embed_lib.bash"
study "$work/calm" 6
run 2 "$work/calm" plan && run 2 "$work/calm" embed; rc=$?
expect "undisturbed run" 0 $rc
[ $rc = 0 ] || { tail -5 "$work/calm/log"; finish; }
calm=$(digest "$work/calm/out/store/part-0001.h5")

again() { # DIR
  run 2 "$1" embed; expect "goes on" 0 $?
  expect "datasets" "$calm" "$(digest "$1/out/store/part-0001.h5")"
}
stop() { # NAME RANKS WANTED COMMAND...: runs COMMAND once three ranges are journalled
  local name=$1 ranks=$2 wanted=$3 dir=$work/$1-$2 start rc; shift 3
  study "$dir" 6
  run 1 "$dir" plan || fail "plan"
  begin "$ranks" "$dir"
  await_ranges 3 "$dir"
  start=$SECONDS
  "$@" "$dir"
  wait $job; rc=$?
  expect "$name with $ranks ranks" "$wanted" $rc
  [ $((SECONDS - start)) -le 20 ] || fail "$name took $((SECONDS - start)) s"
  grep -q '^end' "$dir/out/store/part-0001.journal"; expect "the journal knows why it ended" 0 $?
  grep -q "embed: $ranks ranks busy" "$dir/log"; expect "it tells what the ranks did until then" 0 $?
  [ "$ranks" = 1 ] || { grep -Eq "embed: slowest ranks by tiles: [0-9]+ \(.* % of the mean, busy [0-9]+ %\)" "$dir/log"; expect "it names the slowest ranks" 0 $?; }
  [ "$(journalled "$dir")" -lt 37 ] || say "note: everything was done before the stop took effect"
  again "$dir"
}
usr1() { local child; child=$(pgrep -P $job | head -1); kill -USR1 "${mpirun:-${child:-$job}}"; }
one_rank_usr1() { kill -USR1 "$(rank_pid 1)"; }
halt() { touch "$1/out/halt"; }
stop usr1 1 75 usr1
stop usr1 3 75 usr1
stop usr1-on-one-rank 3 75 one_rank_usr1
stop halt 3 76 halt
expect "halt file is removed" no "$([ -e "$work/halt-3/out/halt" ] && echo yes || echo no)"

for signal in TERM INT; do
  dir=$work/mpirun-$signal
  study "$dir" 6
  run 1 "$dir" plan || fail "plan"
  begin 3 "$dir"
  await_ranges 3 "$dir"
  start=$SECONDS
  kill -$signal "$mpirun"
  wait $job; rc=$?
  case $rc in 0|2|3|76) fail "$signal to mpirun: exit code $rc, which means do not come back" ;; *) say "ok: $signal to mpirun (exit code $rc)" ;; esac
  [ $((SECONDS - start)) -le 20 ] || fail "$signal to mpirun took $((SECONDS - start)) s"
  expect "processes left after $signal to mpirun" 0 "$(leftovers)"
  again "$dir"
  expect "ranges journalled twice" 0 "$(awk -F'\t' '$1 == "range" && $8 != "void" && n[$2, $3]++ { twice++ } END { print twice + 0 }' "$dir/out/store/part-0001.journal")"
done

dir=$work/walltime
study "$dir" 12
run 1 "$dir" plan || fail "plan"
run 2 "$dir" embed --walltime 2; expect "walltime" 75 $?
run 2 "$dir" embed --walltime 1:00:00; expect "walltime that is long enough" 0 $?
run 1 "$dir" embed --walltime soon; expect "walltime that is none" 2 $?
expect "processes left behind" 0 "$(leftovers)"
finish
