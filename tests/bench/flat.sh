#!/bin/bash
# Memory of the ranks over a run of N tiny slides.
# usage: flat.sh [N [RANKS]]    environment: LOBULE, LOB_SOURCE, LOB_BINARY_DIR
# Prints one JSON line: private memory of the largest worker and of rank 0, a quarter into embed and at its end.
. "$(dirname "$0")/../integration/cohort_lib.bash"
count=${1:-2000} ranks=${2:-2}
many=$work/many few=$work/few
mkdir -p "$many"
"$LOBULE" demo "$few" --patients 20 --tiles 4 --centers 3 >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
# A few drawn slides under many names: what may leak is opening and closing, not decoding.
awk -F, -v OFS=, -v n="$count" -v root="$few" 'NR == 1 { print; next } { id[NR - 2] = $1; rest[NR - 2] = $2 OFS $3 OFS root "/" $4 }
  END { for (i = 0; i < n; i++) print id[i % (NR - 1)] "-" i, rest[i % (NR - 1)] }' "$few/slides.csv" >"$many/slides.csv"
cp "$few/study.yaml" "$few/patients.csv" "$many/"

# Private memory in KiB: of rank 0, which keeps a record of every range, or of the largest worker. Readers are apart.
private() { # rank0 | workers
  local p pids most=0 kib
  pids=($(pgrep -P "$mpirun"))
  [ "$1" = rank0 ] && pids=("${pids[0]:-}") || pids=("${pids[@]:1}")
  for p in "${pids[@]}"; do
    kib=$(awk '/^Private_Dirty:/ { print $2 }' "/proc/$p/smaps_rollup" 2>/dev/null)
    [ "${kib:-0}" -le $most ] || most=$kib
  done
  echo $most
}
launch "$ranks" "$LOBULE" plan --output "$many/out" "$many/study.yaml" >"$work/log" 2>&1
planned=$? # 3: the smallest slides may hold no tile
launch "$ranks" "$LOBULE" embed --output "$many/out" "$many/study.yaml" >>"$work/log" 2>&1 &
job=$!
mpirun=
until mpirun=$(pgrep -P $job -x mpirun) || ! kill -0 $job 2>/dev/null; do sleep 0.02; done
first=0 last=0 first0=0 last0=0
while kill -0 $job 2>/dev/null; do
  done_now=$(ranges "$many/out") now=$(private workers) now0=$(private rank0)
  if [ $first = 0 ] && [ "$done_now" -ge $((count / 4)) ]; then first=$now first0=$now0; fi
  if [ "$now" != 0 ] && [ "$now0" != 0 ]; then last=$now last0=$now0; fi
  sleep 0.3
done
wait $job; expect "embed ends as plan did" $planned $?
expect "slides with a fate" "$count" "$(grep -Ec ',(done|failed),' "$many/out/slides.csv")"
printf '{"bench": "flat", "slides": %d, "ranks": %d, "worker_kib_quarter": %d, "worker_kib_end": %d, "rank0_kib_quarter": %d, "rank0_kib_end": %d}\n' \
  "$count" "$ranks" $first $last $first0 $last0
[ $last -le $((first * 105 / 100)) ] || fail "a worker's memory grew by more than a twentieth"
finish
