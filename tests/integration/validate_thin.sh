#!/bin/bash
# Cohorts that are thin or odd: a single event, an arm without events, a constant covariate, a column no other
# center has, a center of one patient, patients without a tile, features that are not numbers. Each ends well, or
# with a clear message; what cannot be estimated says so; no table holds NaN or infinity.
. "$(dirname "$0")/expect_lib.bash"
"$LOBULE" demo --bags --patients 60 --centers 3 --tiles 12 "$work/plain" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
sed -i 's/^model: .*/model: {kind: abmil, epochs: 6, benefit: true}/; s/seeds: 5/seeds: 1/' "$work/plain/study.yaml"

# CASE AWK: the cohort with its patient table put through awk; columns by name as c["rfs_event"].
case_of() {
  cp -r "$work/plain" "$work/$1"
  awk -F, -v OFS=, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; print; next } '"$2"' { print }' \
    "$work/plain/patients.csv" >"$work/$1/patients.csv"
}
# Validation and report; the exit codes are the answer, output in CASE/log.
validate() {
  "$LOBULE" validate "$work/$1/study.yaml" >"$work/$1/log" 2>&1
  local code=$?
  [ $code = 0 ] || { echo $code; return; }
  "$LOBULE" report "$work/$1/study.yaml" >>"$work/$1/log" 2>&1
  echo "$code $?"
}
not_numbers() {
  grep -liwE -- '-?(nan|inf|infinity)' "$work/$1"/out/*.csv "$work/$1"/out/*/*.csv "$work/$1/out/verdict.json" 2>/dev/null | wc -l
}
fine() { # CASE
  expect "$1: exit codes of validate and report" "0 0" "$(validate "$1")"
  expect "$1: tables with NaN" 0 "$(not_numbers "$1")"
}

case_of one_event '{ $c["rfs_event"] = (++seen == 5) ? 1 : 0 }'
fine one_event
held=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next } $c["rfs_event"] == 1 { print $c["center"] }' \
  "$work/one_event/patients.csv")
says='"not estimable: .*no event'
expect "one_event: the fold without it says why" 1 \
  "$(grep -c "^rfs,abmil,$held,harrell_c,,,,0,0,$says" "$work/one_event/out/metrics.csv")"
expect "one_event: its models are in training.csv" 2 "$(grep -c 'no event among' "$work/one_event/out/training.csv")"

expect "one_event: the verdict says what it cannot estimate" 1 \
  "$(grep -c 'concordance over held-out centers not estimable in any center' "$work/one_event/out/verdict.json")"
expect "one_event: no NaN in words" 0 "$(grep -lw nan "$work"/one_event/out/{verdict.json,report.html} | wc -l)"

# The first fold has nothing to train on: what follows must not be taken for it.
case_of events_in_one '$c["center"] != "center-01" { $c["rfs_event"] = 0 }'
fine events_in_one
expect "events_in_one: folds go by their own names" "center-02 center-03" \
  "$(awk -F, '$1 == "tace" && $3 == "estimable_in_training" { printf "%s%s", sep, $2; sep = " " }' "$work/events_in_one/out/benefit_metrics.csv")"

case_of no_event '{ $c["rfs_event"] = 0 }'
expect "no_event: exit code" 2 "$(validate no_event)"
expect "no_event: says so" 1 "$(grep -c 'no fold can be trained' "$work/no_event/log")"

case_of quiet_arm '$c["arm"] == "tace" || $c["arm"] == "both" { $c["rfs_event"] = 0 }'
fine quiet_arm

case_of constant '{ $c["age"] = 60 }'
fine constant
expect "constant: the covariate is left out" yes "$(grep -q "covariate 'age' is left out" "$work/constant/log" && echo yes)"

case_of absent '$c["center"] == "center-02" { $c["age"] = "" }'
fine absent

case_of all_constant '{ $c["age"] = 60; $c["sex"] = "f"; $c["tumor_size_cm"] = 1; $c["mvi"] = 0; $c["afp_log10"] = 2 }'
fine all_constant
expect "all_constant: the comparator says why" yes \
  "$(grep -q 'clinical,.*not estimable: .*none varies' "$work/all_constant/out/metrics.csv" && echo yes)"

case_of lonely '$c["center"] == "center-03" && seen++ { next }'
awk -F, 'NR == FNR { keep[$1]; next } FNR == 1 || $2 in keep' "$work/lonely/patients.csv" "$work/plain/slides.csv" \
  >"$work/lonely/slides.csv"
fine lonely

case_of shared_file '{ }'
sed -i '3s/,[^,]*$/,features\/P00001-S1.h5/' "$work/shared_file/slides.csv"
fine shared_file
expect "shared_file: is told" yes \
  "$(grep -q "1 of the slides: same file as a slide of another patient (the first: 'P00001-S1' and 'P00002-S1'" "$work/shared_file/log" && echo yes)"

case_of no_tiles '{ }'
awk -F, 'NR == 1 || NR % 7' "$work/plain/slides.csv" >"$work/no_tiles/slides.csv"
fine no_tiles

# Nothing is trained or opened before the biomarker can be read.
case_of marker 'NR == 5 { $c["til_score"] = "high" } { }'
sed -i 's/benefit: true/benefit: true, biomarker: til_score/' "$work/marker/study.yaml"
expect "marker: exit code" 2 "$(validate marker)"
expect "marker: says where" 1 "$(grep -c "patients.csv:5: column 'til_score': 'high'" "$work/marker/log")"
expect "marker: no model, no opening" 0 "$(ls "$work"/marker/out/train/*.bin "$work/marker/out/openings.jsonl" 2>/dev/null | wc -l)"

# Who is not eligible is in no table of who takes part.
case_of chosen '{ }'
sed -i '/^model:/i eligible: [age >= 55]' "$work/chosen/study.yaml"
fine chosen
expect "chosen: table 1 is of the eligible" \
  "$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next } $c["age"] >= 55 { n[$c["center"]]++ }
      END { print "patients," n["center-01"] "," n["center-02"] "," n["center-03"] }' "$work/chosen/patients.csv")" \
  "$(grep '^patients,' "$work/chosen/out/figures/table1_by_center.csv")"

# Repeats of a cross-validation are no further patients: they change no p of ranking against chance.
for repeats in 1 2; do
  case_of "repeats_$repeats" '{ }'
  sed -i 's/^model: .*/model: {kind: clinical, epochs: 6}/; s/^validation: .*/validation: {scheme: folds, file: folds.csv, seeds: 1, bootstrap: 10}/' \
    "$work/repeats_$repeats/study.yaml"
  awk -F, -v OFS=, -v repeats="$repeats" 'NR == 1 { print "patient_id,repeat,fold"; next }
    { for (r = 0; r < repeats; r++) print $1, r, NR % 3 }' "$work/plain/patients.csv" >"$work/repeats_$repeats/folds.csv"
  fine "repeats_$repeats"
done
expect "repeats: the page claims no held-out center" "0 1" \
  "$(grep -c 'Discrimination in held-out centers' "$work/repeats_2/out/report.html") $(grep -c 'Discrimination in held-out folds' "$work/repeats_2/out/report.html")"
chance() { grep '^rfs,clinical,pooled,harrell_c_permutation_p,' "$work/repeats_$1/out/metrics.csv" | cut -d, -f 1-9; }
expect "repeats: the p of two" "$(chance 1)" "$(chance 2)"

if /usr/bin/python3 -c 'import h5py' 2>/dev/null; then
  case_of not_a_number '{ }'
  /usr/bin/python3 - "$work/not_a_number/features" <<'P'
import glob, h5py, sys
files = sorted(glob.glob(sys.argv[1] + "/*.h5"))
for k, name in enumerate(files[:6]):
    with h5py.File(name, "r+") as f:
        f["features"][0:(3 if k else None), 1] = float("nan")
P
  expect "not_a_number: exit code" 2 "$(validate not_a_number)"
  expect "not_a_number: says where" 1 "$(grep -c "row 0 of the features holds NaN" "$work/not_a_number/log")"
else
  say "no h5py: features with NaN are left to the unit tests" >&2
fi

finish "$work"/*/log
