#!/bin/bash
# The simulation against real embeds with 1 and 2 ranks: one rank embeds a cohort of a third of the tiles, which gives seconds a tile, of a
# slide's opening and of a range's writing; what is predicted from them is held against runs of another cohort, with 1 and with 2 ranks. Wants
# a quiet machine with a core a rank.
# usage: simulate_real.sh [REPEATS [TILES [texture|PRESET]]]   default 3 3000, and kaiko-s16 where python has torch, else texture
# environment: LOBULE, LOB_SOURCE, LOB_BINARY_DIR, PYTHON. Prints one JSON line a number of ranks; fails where a prediction is more than a
# tenth off the median.
. "$(dirname "$0")/../integration/cohort_lib.bash"
python=${PYTHON:-/usr/bin/python3}
has_torch() { $python -c 'import torch' 2>/dev/null; }
repeats=${1:-3} tiles=${2:-3000} encoder=${3:-$(has_torch && echo kaiko-s16 || echo texture)}
say "encoder: $encoder"
if [ "$encoder" != texture ]; then
  has_torch || { echo "skipped: $python has no torch, which draws the weights of $encoder"; exit 77; }
  $python "$LOB_SOURCE/tests/bench/random_weights.py" "$LOB_SOURCE/configs/encoders/$encoder.yaml" "$work/weights.safetensors" || exit 1
fi
draw() { # FOLDER PATIENTS TILES SEED: its cohort is planned
  "$LOBULE" demo "$work/$1" --patients "$2" --tiles $(($3 / $2)) --centers 3 --seed "$4" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
  [ "$encoder" = texture ] ||
    sed -i "s|^encoder:.*|encoder: {name: $encoder, config: $LOB_SOURCE/configs/encoders/$encoder.yaml, weights: $work/weights.safetensors, batch: 16}|" "$work/$1/study.yaml"
  [ "$encoder" = texture ] || grep -q "name: $encoder" "$work/$1/study.yaml" || { fail "the study names another encoder"; finish; }
  "$LOBULE" plan --output "$work/$1-plan" "$work/$1/study.yaml" >>"$work/log" 2>&1 || { fail "plan of $1"; finish; }
}
draw known 9 $((tiles / 3)) 5
draw cohort 12 "$tiles" 1
cat >"$work/pinned" <<'P'
#!/bin/bash
exec taskset -c "${OMPI_COMM_WORLD_LOCAL_RANK:-0}" "$@"
P
chmod +x "$work/pinned"
embed() { # COHORT RANKS: seconds of the farm; the store stays in $work/run
  rm -rf "$work/run" && cp -r "$work/$1-plan" "$work/run"
  launch "$2" "$work/pinned" "$LOBULE" embed --output "$work/run" "$work/$1/study.yaml" >"$work/run.log" 2>&1 || { fail "embed" >&2; tail -3 "$work/run.log" >&2; return 1; }
  sed -n 's/.*embed: [0-9]* ranks busy .* of \([0-9.]*\) s each.*/\1/p' "$work/run.log"
}
# The calibration: a range's seconds are regressed on its tiles and on whether its slide was new.
embed known 1 >"$work/calibration" || finish
$python - "$work/run/store/part-0001.journal" >"$work/fit" <<'PY'
import sys
import numpy as np
rows, last = [], None
for line in open(sys.argv[1]):
    f = line.split("\t")
    if f[0] == "range":
        rows.append((float(f[3]), f[1] != last, float(f[6])))
        last = f[1]
a = np.array([(n, new, 1.0) for n, new, _ in rows])
seconds = np.array([s for *_, s in rows])
fit = np.maximum(np.linalg.lstsq(a, seconds, rcond=None)[0], [1e-6, 0, 0])
spread = float(np.std((seconds - a @ fit) / (a @ fit)))
print(*fit, spread)
PY
read -r tile open write spread <"$work/fit"
say "calibration: $tile s a tile, $open s a slide's opening, $write s a range, spread $spread"
for ranks in 1 2; do
  "$LOBULE" simulate --plan "$work/cohort-plan" --ranks $ranks --seconds-per-tile "$tile" --open-seconds "$open" --write-seconds "$write" \
    --spread "$spread" --range-seconds 30 --serve-seconds "$(awk "BEGIN { print 16 * $tile / 12 }")" --json 2>/dev/null >"$work/predicted-$ranks"
  for _ in $(seq "$repeats"); do embed cohort $ranks >>"$work/measured-$ranks" || finish; done
done
$python - "$work" "$encoder" <<'PY'
import json, statistics, sys
bad = 0
for ranks in (1, 2):
    predicted = json.loads(open(f"{sys.argv[1]}/predicted-{ranks}").readline())["makespan"]
    measured = [float(x) for x in open(f"{sys.argv[1]}/measured-{ranks}")]
    ratio = predicted / statistics.median(measured)
    print(json.dumps({"bench": "simulate_real", "encoder": sys.argv[2], "ranks": ranks, "predicted": round(predicted, 2),
                      "measured": measured, "ratio": round(ratio, 3), "bar": 0.1}))
    bad |= not 0.9 <= ratio <= 1.1
sys.exit(bad)
PY
[ $? = 0 ] || fail "a prediction is more than a tenth off (was the machine quiet?)"
finish
