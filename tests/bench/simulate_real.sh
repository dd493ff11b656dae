#!/bin/bash
# The simulation against real embeds with 1 and 2 ranks: a calibration run with one rank gives seconds a tile, of a slide's opening and
# of a range's writing; what is predicted from them is held against other runs. Wants a quiet machine with a core a rank.
# usage: simulate_real.sh [REPEATS [TILES [texture|PRESET]]]   default 3 3000 kaiko-s16   environment: LOBULE, LOB_SOURCE, LOB_BINARY_DIR
# Prints one JSON line a run; fails where a prediction is more than a tenth off the median.
. "$(dirname "$0")/../integration/cohort_lib.bash"
repeats=${1:-3} tiles=${2:-3000} encoder=${3:-kaiko-s16}
python=${PYTHON:-/usr/bin/python3}
patients=12
"$LOBULE" demo "$work/cohort" --patients $patients --tiles $((tiles / patients)) --centers 3 >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
study=$work/cohort/study.yaml
if [ "$encoder" != texture ]; then
  $python -c 'import torch' 2>/dev/null || { echo "skipped: $python has no torch"; exit 77; }
  $python "$LOB_SOURCE/tests/bench/random_weights.py" "$LOB_SOURCE/configs/encoders/$encoder.yaml" "$work/weights.safetensors" || exit 1
  sed -i "s|^encoder:.*|encoder: {name: $encoder, config: $LOB_SOURCE/configs/encoders/$encoder.yaml, weights: $work/weights.safetensors, batch: 16}|" "$study"
fi
cat >"$work/pinned" <<'P'
#!/bin/bash
exec taskset -c "${OMPI_COMM_WORLD_LOCAL_RANK:-0}" "$@"
P
chmod +x "$work/pinned"
"$LOBULE" plan --output "$work/plan" "$study" >>"$work/log" 2>&1 || { fail "plan"; finish; }
embed() { # RANKS: seconds of the farm; the store stays in $work/run
  rm -rf "$work/run" && cp -r "$work/plan" "$work/run"
  launch "$1" "$work/pinned" "$LOBULE" embed --output "$work/run" "$study" >"$work/run.log" 2>&1 || { fail "embed" >&2; tail -3 "$work/run.log" >&2; return 1; }
  sed -n 's/.*embed: [0-9]* ranks busy .* of \([0-9.]*\) s each.*/\1/p' "$work/run.log"
}
# The calibration: a range's seconds are regressed on its tiles and on whether its slide was new.
embed 1 >"$work/calibration" || finish
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
  "$LOBULE" simulate --plan "$work/plan" --ranks $ranks --seconds-per-tile "$tile" --open-seconds "$open" --write-seconds "$write" \
    --spread "$spread" --range-seconds 30 --serve-seconds "$(awk "BEGIN { print 16 * $tile / 12 }")" --json 2>/dev/null >"$work/predicted-$ranks"
  for _ in $(seq "$repeats"); do embed $ranks >>"$work/measured-$ranks" || finish; done
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
