#!/bin/bash
# Memory of the ranks over a run of N tiny slides.
# usage: flat.sh [N [RANKS]]    environment: LOBULE, LOB_SOURCE, LOB_BINARY_DIR
# Prints one JSON line: PSS of the worst rank a quarter into embed and at its end.
. "$(dirname "$0")/../integration/cohort_lib.bash"
count=${1:-2000} ranks=${2:-2}
many=$work/many few=$work/few
mkdir -p "$many"
"$LOBULE" demo "$few" --patients 20 --tiles 4 --centers 3 >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
# A few drawn slides under many names: what may leak is opening and closing, not decoding.
awk -F, -v OFS=, -v n="$count" -v root="$few" 'NR == 1 { print; next } { id[NR - 2] = $1; rest[NR - 2] = $2 OFS $3 OFS root "/" $4 }
  END { for (i = 0; i < n; i++) print id[i % (NR - 1)] "-" i, rest[i % (NR - 1)] }' "$few/slides.csv" >"$many/slides.csv"
cp "$few/study.yaml" "$few/patients.csv" "$many/"

pss() { # of the worst rank in KiB, its readers apart
  local p worst=0 kib
  for p in $(pgrep -P "$mpirun"); do
    kib=$(awk '/^Pss:/ { print $2 }' "/proc/$p/smaps_rollup" 2>/dev/null)
    [ "${kib:-0}" -le $worst ] || worst=$kib
  done
  echo $worst
}
launch "$ranks" "$LOBULE" plan --output "$many/out" "$many/study.yaml" >"$work/log" 2>&1
planned=$? # 3: the smallest slides may hold no tile
launch "$ranks" "$LOBULE" embed --output "$many/out" "$many/study.yaml" >>"$work/log" 2>&1 &
job=$!
mpirun=
until mpirun=$(pgrep -P $job -x mpirun) || ! kill -0 $job 2>/dev/null; do sleep 0.02; done
first=0 last=0
while kill -0 $job 2>/dev/null; do
  done_now=$(ranges "$many/out") now=$(pss)
  [ "$first" != 0 ] || [ "$done_now" -lt $((count / 4)) ] || first=$now
  [ "$now" = 0 ] || last=$now
  sleep 0.3
done
wait $job; expect "embed ends as plan did" $planned $?
expect "slides with a fate" "$count" "$(grep -Ec ',(done|failed),' "$many/out/slides.csv")"
printf '{"bench": "flat", "slides": %d, "ranks": %d, "pss_kib_quarter": %d, "pss_kib_end": %d, "growth": %.4f}\n' "$count" "$ranks" "$first" "$last" \
  "$(echo "scale=6; ($last - $first) / $first" | bc)"
[ "$last" -le $((first * 105 / 100)) ] || fail "memory grew by more than a twentieth"
finish
