#!/bin/bash
# Memory of the ranks over a run of N tiny slides: what opening and closing leaks would show.
# usage: flat.sh [N [RANKS]]    default 2000 2    environment: LOBULE, LOB_SOURCE, LOB_BINARY_DIR
# Prints one JSON line: proportional memory (PSS: shared pages in parts) of the largest worker with its reader, and of rank 0, medians
# over the first half of the run (from 200 slides, or a tenth, on) and over the second. Fails where a worker's grows by more than a
# twentieth, or rank 0's by more than that and its records. Rank 0 only deals, as in a large world; it keeps a record of every range,
# for which it is allowed 1 KiB a slide here (a slide is one range).
. "$(dirname "$0")/../integration/cohort_lib.bash"
count=${1:-2000} ranks=${2:-2}
early=$((count / 10))
many=$work/many few=$work/few
export LOB_TEST_RANK0=deals
mkdir -p "$many"
"$LOBULE" demo "$few" --patients 20 --tiles 4 --centers 3 >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
# A few drawn slides under many names: what may leak is opening and closing, not decoding.
awk -F, -v OFS=, -v n="$count" -v root="$few" 'NR == 1 { print; next } { id[NR - 2] = $1; rest[NR - 2] = $2 OFS $3 OFS root "/" $4 }
  END { for (i = 0; i < n; i++) print id[i % (NR - 1)] "-" i, rest[i % (NR - 1)] }' "$few/slides.csv" >"$many/slides.csv"
cp "$few/study.yaml" "$few/patients.csv" "$many/"

family() { # PID: itself and all below it
  local child
  echo "$1"
  for child in $(pgrep -P "$1" 2>/dev/null); do family "$child"; done
}
# PSS in KiB of rank 0, or of the largest worker; zygote and readers count with their rank.
pss() { # rank0 | workers
  local rank member pids most=0 sum kib
  pids=($(pgrep -P "${mpirun:-0}" 2>/dev/null))
  [ "$1" = rank0 ] && pids=("${pids[0]:-}") || pids=("${pids[@]:1}")
  for rank in "${pids[@]}"; do
    sum=0
    for member in $(family "$rank"); do
      kib=$(awk '/^Pss:/ { print $2 }' "/proc/$member/smaps_rollup" 2>/dev/null)
      sum=$((sum + ${kib:-0}))
    done
    [ $sum -le $most ] || most=$sum
  done
  echo $most
}
launch "$ranks" "$LOBULE" plan --output "$many/out" "$many/study.yaml" >"$work/log" 2>&1
planned=$? # 3: the smallest slides may hold no tile
launch "$ranks" "$LOBULE" embed --output "$many/out" "$many/study.yaml" >>"$work/log" 2>&1 &
job=$!
mpirun=
until mpirun=$(pgrep -P $job -x mpirun) || ! kill -0 $job 2>/dev/null; do sleep 0.02; done
while kill -0 $job 2>/dev/null; do
  echo "$(ranges "$many/out") $(pss workers) $(pss rank0)" >>"$work/looks"
  sleep 0.3
done
wait $job; expect "embed ends as plan did" $planned $?
expect "slides with a fate" "$count" "$(grep -Ec ',(done|failed),' "$many/out/slides.csv")"
# A reader with a slide open holds some MB more than one without, so halves are compared by their medians. The last
# look may meet a process that is ending.
median() { sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : 0 }'; }
half() { # COLUMN FROM TO: median over the looks with that many slides done
  awk -v c="$1" -v from="$2" -v to="$3" '$1 >= from && $1 < to { print $c }' "$work/looks" | median
}
total=$(awk 'END { print $1 }' "$work/looks")
middle=$(((early + total) / 2))
first=$(half 2 $early $middle) last=$(half 2 $middle "$total") first0=$(half 3 $early $middle) last0=$(half 3 $middle "$total")
printf '{"bench": "flat", "slides": %d, "ranks": %d, "worker_pss_kib_from_%d": %d, "worker_pss_kib_to_end": %d, "rank0_pss_kib_from_%d": %d, "rank0_pss_kib_to_end": %d}\n' \
  "$count" "$ranks" $early "$first" "$last" $early "$first0" "$last0"
[ "$first" -gt 0 ] && [ "$last" -gt 0 ] && [ "$first0" -gt 0 ] && [ "$last0" -gt 0 ] || fail "nothing was measured"
[ "$last" -le $((first * 105 / 100)) ] || fail "a worker's memory grew by more than a twentieth"
records=$((total / 2))
[ "$last0" -le $((first0 * 105 / 100 + records)) ] || fail "rank 0's memory grew by more than a twentieth and $records KiB of records"
finish
