#!/bin/bash
# Center signature: features that say which hospital a slide is from, hospitals that differ in baseline hazard, and no
# path from any image latent to the outcome. The honest protocol (leave one center out; concordance within centers)
# must find nothing; the naive one (tables that name no center, a random split, concordance over everybody) is fooled.
# usage: cohort_signature.sh LOBULE [COHORTS]
# 20 cohorts: mean of ours .5 +- .02, mean of the naive one at least .58, else it fails. About 3 s a cohort on one core.
set -eu
lobule=$1 cohorts=${2:-20}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for seed in $(seq "${FIRST_SEED:-1}" $((${FIRST_SEED:-1} + cohorts - 1))); do
  dir=$work/$seed
  "$lobule" demo --bags --null --center-sd 1 --patients 400 --centers 5 --tiles 12 --dim 32 --seed "$seed" "$dir" >"$work/log" 2>&1
  # Covariates have an effect of their own, which is no business of a null about images.
  sed -i '/^covariates:/d; s/^model: .*/model: {kind: mean, epochs: 20, benefit: false}/
          s/^validation: .*/validation: {scheme: loco, seeds: 1, bootstrap: 10}/' "$dir/study.yaml"
  sed 's/^validation: .*/validation: {scheme: folds, file: folds.csv, seeds: 1, bootstrap: 10}/; s/^output: .*/output: naive/
       s/slides: slides.csv, patients: patients.csv/slides: naive_slides.csv, patients: naive_patients.csv/' \
    "$dir/study.yaml" >"$dir/naive.yaml"
  sed 's/,center-[0-9]*,/,all,/' "$dir/patients.csv" >"$dir/naive_patients.csv"
  sed 's/,center-[0-9]*,/,all,/' "$dir/slides.csv" >"$dir/naive_slides.csv"
  awk -F, -v seed="$seed" 'BEGIN {srand(seed); print "patient_id,repeat,fold"} NR > 1 {print $1 ",0," int(5 * rand())}' \
    "$dir/patients.csv" >"$dir/folds.csv"
  for study in study naive; do
    "$lobule" validate "$dir/$study.yaml" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
  done
  python3 - "$dir" "$seed" <<'P'
import csv, sys
folder, seed = sys.argv[1:]

def concordance(name, within):
    rows = [r for r in csv.DictReader(open("%s/%s/predictions.csv" % (folder, name))) if r["model"] != "clinical"]
    rows = [(r["center"], float(r["time"]), r["event"] == "1", float(r["linear_predictor"])) for r in rows]
    good = pairs = 0
    for a in rows:
        for b in rows:
            if a[2] and (a[0] == b[0] or not within) and (a[1] < b[1] or a[1] == b[1] and not b[2]):
                pairs += 1
                good += 1 if a[3] > b[3] else 0.5 if a[3] == b[3] else 0
    return good / pairs

print("cohort %s ours %.4f naive %.4f" % (seed, concordance("out", True), concordance("naive", False)), flush=True)
P
  rm -rf "$dir"
done | tee "$work/lines"
python3 - "$work/lines" <<'P'
import statistics, sys
lines = [line.split() for line in open(sys.argv[1])]
ours, naive = (statistics.mean(float(f[k]) for f in lines) for k in (3, 5))
print("cohorts %d mean concordance: ours %.4f, naive %.4f" % (len(lines), ours, naive))
sys.exit(len(lines) >= 20 and (abs(ours - 0.5) > 0.02 or naive < 0.58))
P
