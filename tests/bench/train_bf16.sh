#!/bin/bash
# Held-out concordance in bf16 against fp32, paired over seeds of one cohort: the mean difference should lie within one
# SD of the seeds, or the exit code is 1. On a CPU without bf16 nothing is measured, and that is said. About 4 minutes on
# one core. LOBULE=path/to/lobule tests/bench/train_bf16.sh [SEEDS] [PATIENTS]
set -eu
: "${LOBULE:?path of the program}"
seeds=${1:-10} patients=${2:-600}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$LOBULE" demo --bags --patients "$patients" --centers 6 --tiles 64 "$work" 2>"$work/log"
cp "$work/study.yaml" "$work/base.yaml"
for seed in $(seq "$seeds"); do
  for precision in fp32 bf16; do
    sed "s/^model: .*/model: {kind: abmil, benefit: false, precision: $precision}/; s/^validation: .*/validation: {scheme: loco, seeds: 1, seed: $seed, bootstrap: 100}/" \
      "$work/base.yaml" >"$work/study.yaml"
    "$LOBULE" validate --output "$work/$precision-$seed" "$work/study.yaml" 2>"$work/log" || {
      tail -5 "$work/log"
      [ "$seed $precision" = "1 bf16" ] && grep -q 'needs a CPU with' "$work/log" &&
        { echo "concordance in bf16: not measured here, this CPU has no bf16"; exit 0; }
      exit 1
    }
  done
done
"${PYTHON:-/usr/bin/python3}" - "$work" "$seeds" <<'PY'
import csv, json, statistics, sys
work, seeds = sys.argv[1], int(sys.argv[2])
def concordance(run):
    with open(f"{work}/{run}/predictions.csv") as f:
        rows = [r for r in csv.DictReader(f) if r["model"] == "abmil" and r["time"] and r["event"]]
    by = {}
    for r in rows:
        by.setdefault(r["center"], []).append((float(r["time"]), r["event"] == "1", float(r["linear_predictor"])))
    agree = pairs = 0
    for people in by.values():
        for t, e, s in people:
            for u, f, v in people:
                if e and t < u:
                    pairs += 1
                    agree += 1 if s > v else .5 if s == v else 0
    return agree / pairs
plain = [concordance(f"fp32-{k}") for k in range(1, seeds + 1)]
short = [concordance(f"bf16-{k}") for k in range(1, seeds + 1)]
gap = statistics.mean(b - a for a, b in zip(plain, short))
sd = statistics.stdev(plain)
print(json.dumps({"bench": "bf16-concordance", "seeds": seeds, "fp32": round(statistics.mean(plain), 5),
                  "bf16": round(statistics.mean(short), 5), "mean_difference": round(gap, 6), "seed_sd": round(sd, 6),
                  "within": abs(gap) <= sd}))
sys.exit(not abs(gap) <= sd)
PY
