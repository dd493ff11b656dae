#!/bin/bash
# Center signature: features tell the center, centers differ in their baseline hazard, and nothing else is in them.
# Ours leaves centers out and compares patients within a center: C must be 0.5. The naive way (patients split at
# random, centers ignored) reads the center off the features and is fooled. One line a cohort, then means and SDs.
# usage: cohort_signature.sh LOBULE [COHORTS] [model options, e.g. "kind: mean"]. Needs numpy and h5py.
# Fails where the mean of ours is off 0.5 by more than 0.02, or the naive mean is below 0.58. About 4 s a cohort.
set -euo pipefail
lobule=$1 cohorts=${2:-20} model=${3:-kind: abmil}
python=${PYTHON:-/usr/bin/python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for seed in $(seq "$cohorts"); do
  dir=$work/$seed
  "$python" - "$dir" "$seed" "$model" <<'P'
import os, sys
import h5py, numpy as np
folder, seed, model = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(seed)
CENTERS, PATIENTS, TILES, DIM = 6, 50, 12, 24
os.makedirs(folder + "/features")
hazard = np.exp(rng.permutation(np.linspace(-1, 1, CENTERS)))  # of each center; SD about 0.7 on the log scale
look = rng.normal(size=(CENTERS, DIM))
tables = {"ours": ["patient_id,center,days,event"], "naive": ["patient_id,center,days,event"]}
slides = {"ours": ["slide_id,patient_id,center,path"], "naive": ["slide_id,patient_id,center,path"]}
folds = ["patient_id,repeat,fold"]
deal = rng.permutation(CENTERS * PATIENTS) % CENTERS
for k in range(CENTERS * PATIENTS):
    c, name = k % CENTERS, "p%03d" % k
    time, limit = rng.exponential(900 / hazard[c]), rng.uniform(700, 2300)
    days, event = max(1, round(min(time, limit))), int(time <= limit)
    for way in tables:
        center = "c%d" % c if way == "ours" else "all"
        tables[way].append("%s,%s,%d,%d" % (name, center, days, event))
        slides[way].append("%s,%s,%s,%s.h5" % (name, name, center, name))
    folds.append("%s,0,%d" % (name, deal[k]))
    with h5py.File("%s/features/%s.h5" % (folder, name), "w") as f:
        f["features"] = (look[c] + rng.normal(size=(TILES, DIM))).astype("f4")
        f["coords"] = np.arange(2 * TILES).reshape(TILES, 2)
for way in tables:
    open("%s/%s.csv" % (folder, way), "w").write("\n".join(tables[way]) + "\n")
    open("%s/%s_slides.csv" % (folder, way), "w").write("\n".join(slides[way]) + "\n")
    scheme = "{scheme: loco, seeds: 1}" if way == "ours" else "{scheme: folds, file: folds.csv, seeds: 1}"
    open("%s/%s.yaml" % (folder, way), "w").write(
        "study: %s\ncohort: {slides: %s_slides.csv, patients: %s.csv}\nfeatures: features\n"
        "endpoints: [{name: os, kind: survival, time: days, event: event, horizons: [730]}]\n"
        "model: {%s}\nvalidation: %s\noutput: out_%s\n" % (way, way, way, model, scheme, way))
open(folder + "/folds.csv", "w").write("\n".join(folds) + "\n")
P
  for way in ours naive; do
    "$lobule" validate "$dir/$way.yaml" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
  done
  "$python" - "$dir" "$seed" <<'P'
import csv, sys
folder, seed = sys.argv[1:]
def concordance(way, stratified):
    rows = [(r["center"], float(r["time"]), r["event"] == "1", float(r["linear_predictor"]))
            for r in csv.DictReader(open("%s/out_%s/predictions.csv" % (folder, way)))]
    good = pairs = 0
    for a in rows:
        for b in rows:
            if a[2] and (a[0] == b[0] or not stratified) and (a[1] < b[1] or a[1] == b[1] and not b[2]):
                pairs += 1
                good += 1 if a[3] > b[3] else 0.5 if a[3] == b[3] else 0
    return good / pairs
print("cohort %s ours %.4f naive %.4f" % (seed, concordance("ours", True), concordance("naive", False)), flush=True)
P
  rm -rf "$dir"
done | tee "$work/lines"
"$python" - "$work/lines" <<'P'
import statistics, sys
rows = [line.split() for line in open(sys.argv[1])]
ours, naive = [float(r[3]) for r in rows], [float(r[5]) for r in rows]
spread = lambda v: statistics.stdev(v) if len(v) > 1 else 0
print("cohorts %d ours mean %.4f sd %.4f naive mean %.4f sd %.4f" % (
    len(rows), statistics.mean(ours), spread(ours), statistics.mean(naive), spread(naive)))
sys.exit(abs(statistics.mean(ours) - 0.5) > 0.02 or statistics.mean(naive) < 0.58)
P
