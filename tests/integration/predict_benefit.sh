#!/bin/bash
# The benefit stage in the locked model: a center that training never saw gets the benefit, the spread and the
# recommendation that its validation fold gave it, also without outcomes and arms, also as the only patient of its table.
. "$(dirname "$0")/expect_lib.bash"
# Its kernels sum in an order that depends on the number of rows: a patient's numbers must not.
grep -q avx2 /proc/cpuinfo && export OPENBLAS_CORETYPE=Haswell
run() { "$LOBULE" "$@" >>"$work/log" 2>&1; }
left=center-02
part() { # DIR AWK-OPERATOR
  mkdir "$1"
  cp "$work/demo/study.yaml" "$1"
  ln -s "$work/demo/features" "$1/features"
  awk -F, "NR == 1 || \$2 $2 \"$left\"" "$work/demo/patients.csv" >"$1/patients.csv"
  awk -F, "NR == 1 || \$3 $2 \"$left\"" "$work/demo/slides.csv" >"$1/slides.csv"
}
# Columns of benefit.csv but fold and arm, which a table without outcomes lacks; numbers are the same to the last digit.
advice() { grep "$left" "$1" | cut -d, -f1-3,6- | sort; }

run demo --bags --patients 300 --centers 3 --tiles 8 --dim 16 --endpoints rfs,ae34 "$work/demo" || { cat "$work/log"; exit 1; }
sed -i 's/^model: .*/model: {kind: mean, epochs: 3, benefit: {margin_days: 5, adverse: ae34, penalty_days: 60}}/
        s/^validation: .*/validation: {scheme: loco, seeds: 1, bootstrap: 10}/' "$work/demo/study.yaml"
part "$work/rest" '!='
part "$work/new" '=='
run validate "$work/demo/study.yaml"
expect "validation, exit code" 0 $?
run train "$work/rest/study.yaml"
expect "training, exit code" 0 $?
model=$work/rest/out/model.h5
run predict "$model" "$work/new/study.yaml"
expect "prediction, exit code" 0 $?
advice "$work/demo/out/benefit.csv" >"$work/fold"
advice "$work/new/out/benefit.csv" >"$work/model"
expect "there is something to compare" yes "$(awk -F, '$4 != "" && NF > 20 {n++} END {print (n > 50 ? "yes" : "no")}' "$work/fold")"
expect "as its fold said, lines that differ" 0 "$(diff "$work/fold" "$work/model" | grep -c '^[<>]')"
expect "adverse events have a probability" yes \
  "$(awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "adverse_tace") a = i} NR > 1 && $a > 0 && $a < 1 {n++} END {print (n > 50 ? "yes" : "no")}' "$work/new/out/benefit.csv")"
expect "predictions.csv says so too" "$(cut -d, -f2 "$work/new/out/benefit.csv" | tail -n +2 | wc -l)" \
  "$(awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "recommendation") r = i} NR > 1 && $2 == "mean" && $r != ""' "$work/new/out/predictions.csv" | wc -l)"

sed 's/^endpoints:/endpoints: []/; /^  [#-]/d; /^arms:/d' "$work/new/study.yaml" >"$work/new/prospective.yaml"
first=$(awk -F, 'NR == 2 {print $1}' "$work/new/patients.csv")
awk -F, -v p="$first" 'NR == 1 || $1 == p' "$work/new/patients.csv" >"$work/new/one.csv"
awk -F, -v p="$first" 'NR == 1 || $2 == p' "$work/new/slides.csv" >"$work/new/one_slides.csv"
sed 's/slides: slides.csv, patients: patients.csv/slides: one_slides.csv, patients: one.csv/' "$work/new/prospective.yaml" >"$work/new/one.yaml"
for study in prospective one; do
  run predict "$model" --output "$work/$study" "$work/new/$study.yaml"
  expect "$study, exit code" 0 $?
  advice "$work/$study/benefit.csv" | cut -d, -f2 | grep -Ff - "$work/fold" >"$work/wanted"
  advice "$work/$study/benefit.csv" >"$work/got"
  expect "$study: lines that differ" 0 "$(diff "$work/wanted" "$work/got" | grep -c '^[<>]')"
done
expect "one patient" 1 "$(wc -l <"$work/got")"

finish "$work/log"
