#!/bin/bash
# The verdicts on small cohorts whose truth is known, down to the page that says them: a planted effect is found, a
# sharp null gives an answer instead of a failure, an arm too rare to judge is said to be so; p values are Holm's.
. "$(dirname "$0")/expect_lib.bash"
run() { "$LOBULE" "$@" >>"$work/log" 2>&1; }
cohort() { # NAME [demo option ...]
  local dir=$work/$1
  shift
  run demo --bags --centers 3 --tiles 8 --dim 24 "$@" "$dir"
  sed -i 's/^model: .*/model: {kind: mean, epochs: 3, benefit: true, biomarker: til_score}/
          s/^validation: .*/validation: {scheme: loco, seeds: 1, bootstrap: 10}/' "$dir/study.yaml"
}
ask() { # FOLDER EXPRESSION: of verdict.json; c finds a contrast
  python3 -c 'import json, sys
v = json.load(open(sys.argv[1]))
c = {x["contrast"]: x for x in v["contrasts"]}
print(eval(sys.argv[2]))' "$work/$1/out/verdict.json" "$2"
}
page_says() { grep -c "class=\"verdict\">$2<" "$work/$1/out/report.html"; }

cohort planted --patients 600 --tace-immune-effect -1.2 --seed 3 --endpoints rfs,ae34
sed -i 's/benefit: true/benefit: {contrast: tace, margin_days: 20, adverse: ae34, penalty_days: 60, periods: [365], rule: [mvi == 1, tumor_size_cm > 5]}/' "$work/planted/study.yaml"
cohort null --patients 300 --null --seed 1
sed -i '/^covariates:/d' "$work/null/study.yaml"
cohort rare --patients 400 --endpoints relapse --systemic-share 0.03 --tace-immune-effect 0 --vessel-effect 0 --seed 2
sed -i 's/benefit: true/benefit: {contrast: tace_by_til_score}/' "$work/rare/study.yaml"
for name in planted null rare; do
  run validate "$work/$name/study.yaml"
  expect "$name: validation, exit code" 0 $?
  run report "$work/$name/study.yaml"
  expect "$name: report, exit code" 0 $?
done

expect "planted: verdict" "relative effect modification" "$(ask planted 'v["verdict"]')"
expect "planted: on the page" 1 "$(page_says planted 'Relative effect modification')"
expect "planted: the registered pair is of TACE" "['tace', 'tace_by_til_score']" "$(ask planted 'sorted(k for k in c if c[k]["registered"])')"
has() { grep -c "^tace,pooled,$2,-\?[0-9]" "$work/$1/out/benefit_metrics.csv"; } # rows with a number
for metric in interaction_per_sd_period_0_365 interaction_per_sd_from_365 interaction_per_sd_landmark_60 interaction_per_sd_landmark_90 \
  interaction_per_sd_landmark_180 value_by_rule value_by_recommendation recommendation_gain_over_treat_all c_for_benefit; do
  expect "planted: $metric" 1 "$(has planted $metric)"
done
expect "no rule is given, none is judged" 0 "$(has rare value_by_rule)"
expect "and that is said" 1 "$(grep -c '^tace,pooled,value_by_rule,,.*is not given' "$work/rare/out/benefit_metrics.csv")"
expect "planted: what was registered stands in the lock" "tace 20.0 60.0 ae34" \
  "$(python3 -c 'import json, sys; b = json.load(open(sys.argv[1]))["benefit"]; print(b["contrast"], b["margin_days"], b["penalty_days"], b["adverse"])' "$work/planted/out/lock.json")"
# Advice from the columns beside it: gain less the price of adverse events, over the margin by more than its spread.
advice() { # NAME MARGIN PENALTY: rows whose recommendation is another
  python3 - "$work/$1/out" "$2" "$3" <<'P'
import csv, sys
out, margin, penalty = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
rows = list(csv.DictReader(open(out + "/benefit.csv")))
also = {r["patient_id"]: r for r in csv.DictReader(open(out + "/predictions.csv")) if r["recommendation"]}
wrong = 0
for r in rows:
    basis = "" if r["recommendation_from"] == "effect scores" else "_by_risk"
    gain, none = {}, True
    for arm in ("tace", "systemic", "both"):
        if r["benefit_%s%s" % (arm, basis)]:
            g, sd = float(r["benefit_%s%s" % (arm, basis)]), float(r["benefit_%s%s_sd" % (arm, basis)])
            p = float(r["adverse_" + arm]) if penalty else 0
            assert 0 <= p < 1 and (not penalty or p > 0)
            gain[arm] = (g - penalty * p, sd)
            none = none and gain[arm][0] + sd < margin
    best = max(gain, key=lambda a: gain[a][0])
    said = best if gain[best][0] - margin > gain[best][1] else "none" if none else "undecided"
    p = also[r["patient_id"]]
    wrong += said != r["recommendation"] or said != p["recommendation"] or p["benefit_tace"] != r["benefit_tace" + basis]
print(len(rows) > 200, wrong)
P
}
expect "planted: advice follows effect scores, margin and penalty" "True 0" "$(advice planted 20 60)"
expect "null: advice and the columns beside it follow risk" "True 0" "$(advice null 30 0)"
# Of the registered pair the smaller p is doubled and the larger is no smaller than that.
for name in planted null; do
  expect "$name: Holm" True "$(ask $name 'all([
    (p := sorted((x["permutation_p"], x["permutation_p_holm"]) for x in c.values() if x["registered"])) and len(p) == 2,
    abs(p[0][1] - min(1, 2 * p[0][0])) < 1e-12, abs(p[1][1] - min(1, max(p[1][0], 2 * p[0][0]))) < 1e-12])')"
done
expect "planted: the image's own part of the ranking is told" True "$(ask planted 'any("the image'"'"'s own" in r for r in v["reasons"])')"
expect "null: so is that there is nothing but the image" True "$(ask null '"the model has the image alone" in v["reasons"]')"
expect "rare: competing events are told, on the page too" "True 1" \
  "$(ask rare 'any("competing" in r for r in v["reasons"])') $(grep -c 'competing events are counted as censoring. Effects' "$work/rare/out/report.html")"
expect "null: verdict" "nothing shown" "$(ask null 'v["verdict"]')"
expect "null: on the page" 1 "$(page_says null 'Nothing shown')"
expect "null: nothing is claimed" False "$(ask null 'any(x["claimed"] for x in c.values())')"
expect "null: advice follows no effect score" "risk and average effect" "$(ask null 'v["recommendations_from"]')"
expect "rare: the biomarker alone is registered" "['tace_by_til_score']" "$(ask rare '[k for k in c if c[k]["registered"]]')"
expect "rare: systemic therapy is not estimable" False "$(ask rare 'c["systemic"]["estimable"]')"
expect "rare: and the reason is given" True "$(ask rare '"systemic" in c["systemic"]["reason"]')"
expect "rare: TACE is, and not claimed" "True False" "$(ask rare '"%s %s" % (c["tace"]["estimable"], c["tace"]["claimed"])')"

finish "$work/log"
