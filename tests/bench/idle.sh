#!/bin/bash
# CPU that waiting costs: one worker is stopped in the middle of a range, the others finish what there is and wait for it.
# usage: idle.sh [RANKS [SECONDS]]    environment: LOBULE, LOB_SOURCE, LOB_BINARY_DIR
# Prints one JSON line: shares of a core of rank 0, of the median and of the busiest waiting worker. Rank 0 only
# deals, as in worlds of more than 64 ranks. Fails where rank 0 takes 1 % of a core or more, or the busiest waiting worker 2 %.
. "$(dirname "$0")/../integration/cohort_lib.bash"
ranks=${1:-10} seconds=${2:-5} out=$work/out
draw_cohort
export LOB_TEST_RANK0=deals
launch 2 "$LOBULE" plan --output "$out" "$study" >"$work/log" 2>&1; expect "plan" 0 $?
launch "$ranks" "$LOBULE" embed --output "$out" "$study" >>"$work/log" 2>&1 &
job=$!
until mpirun=$(pgrep -P $job -x mpirun) || ! kill -0 $job 2>/dev/null; do sleep 0.02; done
while kill -0 $job 2>/dev/null && [ "$(ranges "$out")" -lt 3 ]; do sleep 0.05; done
pids=($(pgrep -P "$mpirun"))
stopped=${pids[-1]}
kill -STOP "$stopped"
settled=0 before=-1
while [ $settled -lt 20 ]; do
  now=$(ranges "$out")
  if [ "$now" = $before ]; then settled=$((settled + 1)); else settled=0; fi
  before=$now
  sleep 0.1
done
ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
declare -A first
for p in "${pids[@]}"; do first[$p]=$(ticks "$p"); done
start=${EPOCHREALTIME/./}
sleep "$seconds"
for p in "${pids[@]}"; do
  [ "$p" = "$stopped" ] || echo "$(ticks "$p") ${first[$p]} $((${EPOCHREALTIME/./} - start)) $(getconf CLK_TCK)"
done | awk '{ printf "%.5f\n", ($1 - $2) / $4 / ($3 / 1e6) }' >"$work/shares"
kill -CONT "$stopped"
wait $job; expect "embed" 0 $?
rank0=$(head -1 "$work/shares")
tail -n +2 "$work/shares" | sort -n >"$work/sorted"
workers=$(wc -l <"$work/sorted")
printf '{"bench": "idle", "ranks": %d, "seconds": %s, "rank0_core_share": %s, "median_worker_core_share": %s, "busiest_worker_core_share": %s}\n' \
  "$ranks" "$seconds" "$rank0" "$(sed -n "$(((workers + 1) / 2))p" "$work/sorted")" "$(tail -1 "$work/sorted")"
[ "$workers" -ge 1 ] && [ -n "$rank0" ] || fail "nothing was measured"
below() { awk -v got="$1" -v bar="$2" 'BEGIN { exit !(got < bar) }'; }
below "$rank0" 0.01 || fail "rank 0 takes $rank0 of a core; the bar is 0.01"
below "$(tail -1 "$work/sorted")" 0.02 || fail "a waiting worker takes $(tail -1 "$work/sorted") of a core; the bar is 0.02"
finish
