#!/bin/bash
# A locked model judged on a cohort it was not made from: the registered contrast, frozen thresholds, one center, no
# outcomes, labels of one class or none; what a fold said of a center is what the external evaluation says of it.
. "$(dirname "$0")/expect_lib.bash"
run() { "$LOBULE" "$@" >"$work/last" 2>&1; local code=$?; cat "$work/last" >>"$work/log"; return $code; }
said() { grep -q -- "$1" "$work/last" && echo yes || echo no; }
ask() { # FOLDER EXPRESSION: v is verdict.json, c finds a contrast in it
  python3 -c 'import json, sys
v = json.load(open(sys.argv[1] + "/verdict.json"))
c = {x["contrast"]: x for x in v["contrasts"]}
print(eval(sys.argv[2]))' "$1" "$2"
}
# Estimate of a row of benefit_metrics.csv.
metric() { awk -F, -v c="$2" -v w="$3" -v m="$4" '$1 == c && $2 == w && $3 == m {print $4}' "$1/benefit_metrics.csv"; }
close() { awk -v a="$1" -v b="$2" 'BEGIN {d = a - b; print (a != "" && b != "" && d < 1e-5 && d > -1e-5 ? "yes" : a " and " b)}'; }
said_in() { grep -q -- "$2" "$1" && echo yes || echo no; }

model='model: {kind: mean, epochs: 3, benefit: true, biomarker: til_score}'
demo() { # DIR PATIENTS CENTERS SEED
  run demo --bags --patients "$2" --centers "$3" --tiles 8 --dim 16 --tace-immune-effect -1.2 --endpoints rfs,cd8 --seed "$4" "$work/$1" || { cat "$work/log"; exit 1; }
  sed -i "s/^model: .*/$model/; s/^validation: .*/validation: {scheme: loco, seeds: 1, bootstrap: 10}/" "$work/$1/study.yaml"
}
left=center-02
part() { # NAME AWK-OPERATOR
  mkdir "$work/$1"
  cp "$work/a/study.yaml" "$work/$1"
  ln -s "$work/a/features" "$work/$1/features"
  awk -F, "NR == 1 || \$2 $2 \"$left\"" "$work/a/patients.csv" >"$work/$1/patients.csv"
  awk -F, "NR == 1 || \$3 $2 \"$left\"" "$work/a/slides.csv" >"$work/$1/slides.csv"
}
demo a 600 3 3
demo b 420 3 4
part rest '!='
part new '=='
run validate "$work/a/study.yaml"
expect "validation, exit code" 0 $?
run train "$work/rest/study.yaml"
expect "training without $left, exit code" 0 $?
model_file=$work/rest/out/model.h5
hash=$(sed -n 's/.*SHA-256 \([0-9a-f]*\)$/\1/p' "$work/last")

# One center, the one that a fold held out: its interaction and its biomarker's are the fold's.
run predict "$model_file" "$work/new/study.yaml"
expect "one center, exit code" 0 $?
out=$work/new/out
for contrast in tace tace_by_til_score; do
  expect "$contrast: as its fold said" yes \
    "$(close "$(metric "$work/a/out" $contrast $left interaction_per_sd)" "$(metric "$out" $contrast $left interaction_per_sd)")"
  expect "$contrast: the center is the cohort" yes \
    "$(close "$(metric "$out" $contrast pooled interaction_per_sd)" "$(metric "$out" $contrast $left interaction_per_sd)")"
done
expect "the model and its lock" "True True" \
  "$(ask "$out" "'%s %s' % (v['model_sha256'] == '$hash', v['registered_lock'] == '$(sha256sum <"$work/rest/out/lock.json" | cut -c1-64)')")"
expect "the registered contrast and a one-sided p" "tace True" \
  "$(ask "$out" "'%s %s' % (v['registered']['contrast'], 0 < c['tace']['one_sided_p'] < 0.05)")"
expect "no interval over one center, and it is said" "None None True" \
  "$(ask "$out" "'%s %s %s' % (c['tace']['hartung_knapp_lower'], c['tace']['hartung_knapp_upper'], 'no Hartung-Knapp' in ' '.join(v['reasons']))")"

# Several centers of another cohort.
run predict "$model_file" --output "$work/b1" "$work/b/study.yaml"
expect "another cohort, exit code" 0 $?
expect "another cohort: three centers, an interval over them" "3 True" \
  "$(ask "$work/b1" "'%s %s' % (v['centers'], c['tace']['hartung_knapp_lower'] is not None)")"
expect "policy values and thirds are there" 5 \
  "$(cut -d, -f1,3 "$work/b1/benefit_metrics.csv" | grep -c '^tace,\(value_by_effect_score\|autoc\|benefit_.*_third\)$')"
expect "nothing is refitted at other landmarks" 0 "$(grep -c landmark "$work/b1/benefit_metrics.csv")"

# Outcomes of the new cohort change no prediction, no threshold, no third, no advice.
awk -F, -v OFS=, 'NR > 1 {t = $11; $11 = 100 + (t * 7919) % 2900; $12 = 1 - $12; $16 = 1 - $16} {print}' "$work/b/patients.csv" >"$work/b/turned.csv"
expect "columns are as expected" "rfs_days rfs_event cd8_high" "$(head -1 "$work/b/patients.csv" | cut -d, --output-delimiter=' ' -f11,12,16)"
sed 's/patients: patients.csv/patients: turned.csv/' "$work/b/study.yaml" >"$work/b/turned.yaml"
run predict "$model_file" --output "$work/b2" "$work/b/turned.yaml"
expect "turned outcomes, exit code" 0 $?
frozen() { cut -d, -f1-7,11-14,17- "$1/predictions.csv"; cat "$1/benefit.csv"; }
expect "turned outcomes: the same predictions, groups and advice" "$(frozen "$work/b1" | sha256sum)" "$(frozen "$work/b2" | sha256sum)"
# contrast, treated and predicted gain name a row; column 6 is its third.
expect "turned outcomes: the same thirds" "0 yes" "$(awk -F, 'NR == FNR {third[$1, $3, $8] = $6; next} ($1, $3, $8) in third {n++; wrong += third[$1, $3, $8] != $6}
  END {print wrong + 0, (n > 200 ? "yes" : n + 0)}' "$work/b1/benefit_scores.csv" "$work/b2/benefit_scores.csv")"
expect "turned outcomes: another result" no "$(cmp -s "$work/b1/benefit_metrics.csv" "$work/b2/benefit_metrics.csv" && echo yes || echo no)"

# Labels of one class, of none, and no outcome at all.
awk -F, -v OFS=, 'NR > 1 {$16 = 1} {print}' "$work/b/patients.csv" >"$work/b/one.csv"
awk -F, -v OFS=, 'NR > 1 {$16 = ""; $11 = ""; $12 = ""} {print}' "$work/b/patients.csv" >"$work/b/none.csv"
for table in one none; do
  sed "s/patients: patients.csv/patients: $table.csv/" "$work/b/study.yaml" >"$work/b/$table.yaml"
  run predict "$model_file" --output "$work/$table" "$work/b/$table.yaml"
  expect "labels of $table: exit code" 0 $?
  expect "labels of $table: predictions" "$(wc -l <"$work/b1/predictions.csv")" "$(wc -l <"$work/$table/predictions.csv")"
done
expect "one class: its AUC is not estimable" yes "$(said_in "$work/one/metrics.csv" 'cd8_high,mean,pooled,auc,,,,600,[0-9]*,not estimable: the known labels are of one class\|,auc,,,,.*not estimable: the known labels are of one class')"
expect "no outcome: no metrics, no verdict" "no no" "$([ -e "$work/none/metrics.csv" ] && echo yes || echo no) $([ -e "$work/none/verdict.json" ] && echo yes || echo no)"

# The page, by predict itself and again by report, of several centers and of one.
for folder in "$work/b1" "$out"; do
  page=$folder/report.html
  expect "$(basename "$folder"): headed by the model" 1 "$(grep -c "External validation of locked model $hash" "$page")"
  for section in verdict cohort discrimination calibration utility survival benefit; do
    expect "$(basename "$folder"): section $section" yes "$(said_in "$page" "id=\"$section\"")"
  done
  expect "$(basename "$folder"): says nothing of folds it has not" no "$(said_in "$page" "held-out center\|each fold\|other centers alone")"
done
before=$(sha256sum <"$out/report.html")
run report "$work/new/study.yaml"
expect "report of one center: exit code, the same page" "0 $before" "$? $(sha256sum <"$out/report.html")"
run report --output "$work/none" "$work/b/none.yaml"
expect "report without outcomes: exit code, reason" "2 yes" "$? $(said 'no outcome was known')"
expect "labels of one class: there is a page" yes "$([ -s "$work/one/report.html" ] && echo yes || echo no)"
[ -z "$(command -v python3)" ] || { python3 "$LOB_SOURCE/tests/integration/report_trace.py" "$work/b1" >"$work/last" 2>&1 || { cat "$work/last"; expect "numbers are traced" yes no; }; }

# An arm's code is the model's.
sed 's/tace: \[1, 0\], systemic: \[0, 1\]/tace: [0, 1], systemic: [1, 0]/' "$work/b/study.yaml" >"$work/b/arms.yaml"
run predict "$model_file" --output "$work/arms" "$work/b/arms.yaml"
expect "arms coded otherwise: exit code, reason" "2 yes" "$? $(said 'arms.levels.tace is')"

# Other tiles than the model's are refused before anything is computed.
sed '/^features:/d; $ a tiles: {size: 448, mpp: 1}' "$work/b/study.yaml" >"$work/b/tiles.yaml"
awk -F, -v OFS=, 'NR == 1 {print $0 (/path/ ? "" : ",path"); next} {print $0 (NF == 3 ? ",none.svs" : "")}' "$work/b/slides.csv" >"$work/b/with_paths.csv"
sed -i 's/slides: slides.csv/slides: with_paths.csv/' "$work/b/tiles.yaml"
run predict "$model_file" --output "$work/tiles" "$work/b/tiles.yaml"
expect "other tiles: exit code, reasons" "2 yes yes" "$? $(said 'tile size: model') $(said 'encoder: model')"

finish "$work/log"
