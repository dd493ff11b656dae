#!/bin/bash
# From one rank to two, each rank pinned with its reader to a core of its own: the speed-up of embed with a ViT-S (random
# weights), and the CPU-seconds a tile takes with the texture encoder. Runs alternate; medians and the whole spread are printed.
# usage: speedup.sh [REPEATS [TILES]]    default 5 400    environment: LOBULE, LOB_SOURCE, LOB_BINARY_DIR   wants a quiet machine
. "$(dirname "$0")/../integration/cohort_lib.bash"
repeats=${1:-5} tiles=${2:-400}
python=${PYTHON:-/usr/bin/python3}
$python -c 'import torch' 2>/dev/null || { echo "skipped: $python has no torch"; exit 77; }
command -v taskset >/dev/null || { echo "skipped: taskset (util-linux) is missing"; exit 77; }
$python "$LOB_SOURCE/tests/bench/random_weights.py" "$LOB_SOURCE/configs/encoders/kaiko-s16.yaml" "$work/weights.safetensors" || exit 1
"$LOBULE" demo "$work/cohort" --patients 10 --tiles $((tiles / 10)) --centers 3 >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
study=$work/cohort/study.yaml
sed "s|^encoder:.*||; s|^output:.*|encoder: {name: kaiko-s16, config: $LOB_SOURCE/configs/encoders/kaiko-s16.yaml, weights: $work/weights.safetensors, batch: 16}\noutput: out|" "$study" >"$work/cohort/vit.yaml"
# The texture encoder is fast: each slide stands under eight names, so that a job is more than its start.
awk -F, -v OFS=, 'NR == 1 { print; next } { id = $1; for (k = 1; k <= 8; k++) { $1 = id "-" k; print } }' "$work/cohort/slides.csv" >"$work/cohort/many.csv"
sed 's/slides\.csv/many.csv/' "$study" >"$work/cohort/many.yaml"
# Every process of a rank inherits its core: the zygote is forked before MPI starts.
cat >"$work/pinned" <<'P'
#!/bin/bash
exec taskset -c "${OMPI_COMM_WORLD_LOCAL_RANK:-0}" "$@"
P
chmod +x "$work/pinned"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none

# One embed from a fresh plan: "seconds of the farm, CPU-seconds beyond those of a job with nothing to do, tiles".
measure() { # RANKS STUDY
  local out=$work/out-$RANDOM seconds cpu idle
  TIMEFORMAT='%U %S'
  "$LOBULE" plan --output "$out" "$2" >>"$work/log" 2>&1 || { fail "plan" >&2; return 1; }
  { time mpirun -n "$1" "$work/pinned" "$LOBULE" embed --output "$out" "$2" >"$work/run.log" 2>&1; } 2>"$work/cpu" || { fail "embed" >&2; tail -3 "$work/run.log" >&2; return 1; }
  cpu=$(awk '{ print $1 + $2 }' "$work/cpu")
  seconds=$(sed -n 's/.*embed: [0-9]* ranks busy .* of \([0-9.]*\) s each.*/\1/p' "$work/run.log")
  { time mpirun -n "$1" "$work/pinned" "$LOBULE" embed --output "$out" "$2" >>"$work/log" 2>&1; } 2>"$work/cpu"
  idle=$(awk '{ print $1 + $2 }' "$work/cpu")
  echo "$1 $seconds $(awk "BEGIN { print $cpu - $idle }") $(tiles_of "$out")"
  rm -rf "$out"
}
for encoder in vit texture; do
  [ $encoder = vit ] && s=$work/cohort/vit.yaml || s=$work/cohort/many.yaml
  for _ in $(seq "$repeats"); do for ranks in 1 2; do measure $ranks "$s" >>"$work/$encoder"; done; done
done
$python - "$work/vit" "$work/texture" <<'PY'
import json, statistics, sys
def table(path):
    rows = [list(map(float, line.split())) for line in open(path)]
    return {n: [r[1:] for r in rows if r[0] == n] for n in (1, 2)}
median, failed = statistics.median, False
vit, texture = map(table, sys.argv[1:])
pairs = [a[0] / b[0] for a, b in zip(vit[1], vit[2])]
speedup = median(a[0] for a in vit[1]) / median(b[0] for b in vit[2])
print(json.dumps({"bench": "speedup", "encoder": "kaiko-s16 (random weights)", "ranks": 2, "tiles": vit[1][0][2],
                  "seconds_1": [a[0] for a in vit[1]], "seconds_2": [a[0] for a in vit[2]], "speedup": round(speedup, 3),
                  "least_pair": round(min(pairs), 3), "most_pair": round(max(pairs), 3), "bar": 1.9}))
growth = {n: [a[1] / a[2] for a in texture[n]] for n in (1, 2)}
share = median(growth[2]) / median(growth[1]) - 1
print(json.dumps({"bench": "cpu_per_tile", "encoder": "texture", "tiles": texture[1][0][2],
                  "ms_1": [round(1e3 * g, 3) for g in growth[1]], "ms_2": [round(1e3 * g, 3) for g in growth[2]],
                  "growth": round(share, 4), "bar": 0.05}))
for name, met in {"speed-up >= 1.9": speedup >= 1.9, "CPU-seconds a tile grow < 5 %": share < 0.05}.items():
    print("met   " if met else "MISSED", name)
    failed |= not met
sys.exit(failed)
PY
[ $? = 0 ] || fail "a bar was missed (was the machine quiet?)"
finish
