#!/bin/bash
# MUSK1, 5 x 10 published folds, gated attention with a fixed number of epochs: accuracy of each seed and their
# mean. usage: cohort_musk1.sh LOBULE MUSK1_FOLDER. About half a minute on one core. Fails below a mean of 0.87.
set -eu
lobule=$1 data=$(cd "$2" && pwd) work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/study.yaml" <<Y
study: musk1
cohort: {slides: $data/slides.csv, patients: $data/patients.csv}
features: $data/features
endpoints:
  - {name: musk, kind: binary, label: label}
model: {kind: abmil}
validation: {scheme: folds, file: $data/folds.csv, seeds: 5}
output: out
Y
"$lobule" validate "$work/study.yaml" 2>"$work/log" || { tail "$work/log"; exit 1; }
awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) {if ($i == "label") label = i; if ($i ~ /^lp_seed/) seed[++n] = i}; next}
  {rows++; for (s = 1; s <= n; s++) right[s] += ($(seed[s]) > 0) == ($label == 1)}
  END {for (s = 1; s <= n; s++) {printf "seed %d accuracy %.4f\n", s, right[s] / rows; sum += right[s] / rows / n}
    printf "mean %.4f\n", sum; exit sum < 0.87}' "$work/out/predictions.csv"
