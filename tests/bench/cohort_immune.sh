#!/bin/bash
# Planted immune labels (CD8 and PD-L1, high against low) read from bags: held-out AUC, per center and pooled.
# usage: cohort_immune.sh LOBULE [COHORTS] [model options, e.g. "kind: clam"]. About a minute a cohort on one core.
# Fails where the mean pooled AUC of either is below 0.85.
set -euo pipefail
lobule=$1 cohorts=${2:-5} model=${3:-kind: abmil}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for seed in $(seq "$cohorts"); do
  dir=$work/$seed
  "$lobule" demo --bags --patients 400 --centers 4 --endpoints cd8,pdl1 --seed "$seed" "$dir" >"$work/log" 2>&1
  sed -i "s/^model: .*/model: {$model, benefit: false}/; /^covariates:/d" "$dir/study.yaml"
  "$lobule" validate "$dir/study.yaml" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
  awk -F, -v seed="$seed" '$4 == "auc" { line = line sprintf(" %s/%s %.3f", $1, $3, $5) } END { print "cohort", seed line }' \
    "$dir/out/metrics.csv"
  rm -rf "$dir"
done | tee "$work/lines"
awk '{ for (i = 3; i < NF; i += 2) if ($i ~ /pooled/) { sum[$i] += $(i + 1); n[$i]++ } }
  END { for (k in sum) { printf "mean %s %.4f over %d cohorts\n", k, sum[k] / n[k], n[k]
    labels++; if (!(sum[k] / n[k] >= 0.85)) { print "MISSED: the bar is 0.85"; bad = 1 } }
    exit bad || labels != 2 }' "$work/lines"
