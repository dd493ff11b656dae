#!/bin/bash
# Held-out concordance on synthetic cohorts whose truth is known, one line a cohort and a summary.
# usage: cohort_concordance.sh LOBULE null|planted [COHORTS] [model options, e.g. "kind: mean"]
#   null     no path from any image latent to the outcome: |mean C - 0.5| must be at most 0.02, and the permutation
#            p at most 0.05 in at most 5 of 40 cohorts (of N: in as many as chance exceeds in 2 % of experiments)
#   planted  160 patients, 4 centers, grade 1.2 per SD: share of the true predictor's excess over 0.5; median at
#            least 0.75, minimum at least 0.6
# About 10 s a cohort on one core. Exit code 1 where a bar is missed.
set -euo pipefail
lobule=$1 family=$2 cohorts=${3:-40} model=${4:-kind: abmil}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
planted=(--patients 160 --centers 4 --tiles 80 --dim 65 --grade-effect 1.2)
[ "$family" = planted ] || planted=(--patients 240 --centers 4 --tiles 32 --null)
for seed in $(seq "$cohorts"); do
  dir=$work/$seed
  "$lobule" demo --bags "${planted[@]}" --seed "$seed" "$dir" >"$work/log" 2>&1
  sed -i "s/^model: .*/model: {$model}/; s/seeds: 5/seeds: 1/" "$dir/study.yaml"
  # Covariates have an effect of their own, which is no business of a null about images.
  [ "$family" = planted ] || sed -i '/^covariates:/d' "$dir/study.yaml"
  "$lobule" validate "$dir/study.yaml" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
  python3 - "$dir" "$seed" <<'P'
import csv, sys
folder, seed = sys.argv[1:]
truth = {r["patient_id"]: float(r["lp_inputs"]) for r in csv.DictReader(open(folder + "/truth.csv"))}
rows = [r for r in csv.DictReader(open(folder + "/out/predictions.csv")) if r["model"] != "clinical"]
rows = [(r["center"], float(r["time"]), r["event"] == "1", float(r["linear_predictor"]), truth[r["patient_id"]])
        for r in rows]

def concordance(k):
    good = pairs = 0
    for a in rows:
        for b in rows:
            if a[2] and a[0] == b[0] and (a[1] < b[1] or a[1] == b[1] and not b[2]):
                pairs += 1
                good += 1 if a[k] > b[k] else 0.5 if a[k] == b[k] else 0
    return good / pairs

c, t = concordance(3), concordance(4)
# A model that found nothing to learn ranks nobody: no estimate, and nothing that chance could not do.
p = [float(r["estimate"] or 1) for r in csv.DictReader(open(folder + "/out/metrics.csv")) if r["model"] != "clinical"
     and r["center"] == "pooled" and r["metric"] == "harrell_c_permutation_p"]
assert len(p) == 1, p
print("cohort %s C %.4f true %.4f share %.3f p %.4f"
      % (seed, c, t, (c - 0.5) / (t - 0.5) if t != 0.5 else 0, p[0]), flush=True)
P
  rm -rf "$dir"
done | tee "$work/lines"
python3 - "$family" "$work/lines" <<'P'
import math, statistics, sys
family, lines = sys.argv[1], [line.split() for line in open(sys.argv[2])]
c, share = [float(f[3]) for f in lines], [float(f[7]) for f in lines]
if family == "null":
    mean = statistics.mean(c)
    n, low = len(c), sum(float(f[9]) <= .05 for f in lines)
    chance = [math.comb(n, k) * .05 ** k * .95 ** (n - k) for k in range(n + 1)]
    most = next(k for k in range(n + 1) if sum(chance[k + 1:]) <= .02)
    print("cohorts %d mean C %.4f sd %.4f, p <= 0.05 in %d of them (bar: at most %d)"
          % (n, mean, statistics.stdev(c) if n > 1 else 0, low, most))
    sys.exit(abs(mean - 0.5) > 0.02 or low > most)
print("cohorts %d share of the excess: median %.3f minimum %.3f" % (len(c), statistics.median(share), min(share)))
sys.exit(statistics.median(share) < 0.75 or min(share) < 0.6)
P
