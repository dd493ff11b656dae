#!/bin/bash
# One cohort of each experiment of tests/bench, small: what is planted is found in centers left out, and what is not
# there is not. A broken method fails here; the bars over many cohorts are the scripts'.
set -u
: "${LOBULE:?path of the program}" "${LOB_SOURCE:?root of the source}"
bench=$LOB_SOURCE/tests/bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
say() { echo "validate_planted.sh: $*"; }
within() { # WHAT VALUE LEAST MOST
  if awk -v v="$2" -v least="$3" -v most="$4" 'BEGIN { exit !(v != "" && v >= least && v <= most) }'; then
    say "ok: $1: $2"
  else say "FAILED: $1: $2, expected $3 to $4"; failures=$((failures + 1)); fi
}

line=$(bash "$bench/cohort_concordance.sh" "$LOBULE" planted 1 | sed -n 1p)
within "planted grade, share of the true concordance's excess" "$(awk '{ print $8 }' <<<"$line")" 0.75 1.25

if "${PYTHON:-/usr/bin/python3}" -c 'import h5py, numpy' 2>/dev/null; then
  line=$(bash "$bench/cohort_signature.sh" "$LOBULE" 1 | sed -n 1p)
  within "center signature, ours" "$(awk '{ print $4 }' <<<"$line")" 0.42 0.58
  within "center signature, patients split at random" "$(awk '{ print $6 }' <<<"$line")" 0.6 1
else say "the center signature needs numpy and h5py, which are not here"; fi

"$LOBULE" demo --bags --patients 200 --centers 4 --endpoints cd8 --seed 1 "$work/immune" >"$work/log" 2>&1 &&
  sed -i 's/^model: .*/model: {kind: abmil, benefit: false}/; s/seeds: 5/seeds: 1/; /^covariates:/d' "$work/immune/study.yaml" &&
  "$LOBULE" validate "$work/immune/study.yaml" >>"$work/log" 2>&1 || tail "$work/log"
within "planted CD8, AUC in centers left out" \
  "$(awk -F, '$3 == "pooled" && $4 == "auc" { print $5 }' "$work/immune/out/metrics.csv")" 0.8 1

musk=${LOB_SHARED:-$LOB_SOURCE/../shared}/data/mil/musk1
if [ -f "$musk/folds.csv" ]; then
  awk -F, 'NR == 1 || $2 == 0' "$musk/folds.csv" >"$work/folds.csv"
  cat >"$work/musk.yaml" <<Y
study: musk1
cohort: {slides: $musk/slides.csv, patients: $musk/patients.csv}
features: $musk/features
endpoints:
  - {name: musk, kind: binary, label: label}
model: {kind: abmil}
validation: {scheme: folds, file: folds.csv, seeds: 1}
output: musk
Y
  "$LOBULE" validate "$work/musk.yaml" >"$work/log" 2>&1 || tail "$work/log"
  within "MUSK1, accuracy over its first ten folds" \
    "$(awk -F, '$3 == "pooled" && $4 == "accuracy" { print $5 }' "$work/musk/metrics.csv")" 0.82 1
else say "MUSK1 is not here ($musk)"; fi
[ $failures = 0 ] || exit 1
