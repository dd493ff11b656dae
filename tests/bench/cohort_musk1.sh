#!/bin/bash
# MUSK1, 5 x 10 published folds, a fixed number of epochs: accuracy of each seed and their mean.
# usage: cohort_musk1.sh LOBULE MUSK1_FOLDER [MODEL, e.g. "kind: clam"] [LEAST MEAN]
# By default gated attention, which fails below a mean of 0.87. About half a minute on one core.
set -eu
lobule=$1 data=$(cd "$2" && pwd) model=${3:-kind: abmil} least=${4:-0.87} work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/study.yaml" <<Y
study: musk1
cohort: {slides: $data/slides.csv, patients: $data/patients.csv}
features: $data/features
endpoints:
  - {name: musk, kind: binary, label: label}
model: {$model}
validation: {scheme: folds, file: $data/folds.csv, seeds: 5}
output: out
Y
"$lobule" validate "$work/study.yaml" 2>"$work/log" || { tail "$work/log"; exit 1; }
awk -F, -v least="$least" 'NR == 1 {for (i = 1; i <= NF; i++) {if ($i == "label") label = i; if ($i ~ /^lp_seed/) seed[++n] = i}; next}
  {rows++; for (s = 1; s <= n; s++) right[s] += ($(seed[s]) > 0) == ($label == 1)}
  END {for (s = 1; s <= n; s++) {printf "seed %d accuracy %.4f\n", s, right[s] / rows; sum += right[s] / rows / n}
    printf "mean %.4f\n", sum; exit sum < least}' "$work/out/predictions.csv"
