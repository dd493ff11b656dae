#!/bin/bash
# The verdicts on small cohorts whose truth is known, down to the page that says them: a planted effect is found, a
# sharp null gives an answer instead of a failure, an arm too rare to judge is said to be so; p values are Holm's.
set -u
: "${LOBULE:?path of the program}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
say() { echo "benefit_verdicts.sh: $*"; }
expect() { # WHAT WANTED GOT
  if [ "$2" = "$3" ]; then say "ok: $1"; else say "FAILED: $1: expected $2, got $3"; failures=$((failures + 1)); fi
}
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

cohort planted --patients 900 --tace-immune-effect -1.2 --seed 3
cohort null --patients 300 --null --seed 1
sed -i '/^covariates:/d' "$work/null/study.yaml"
cohort rare --patients 500 --systemic-share 0.03 --tace-immune-effect 0 --vessel-effect 0 --seed 2
for name in planted null rare; do
  run validate "$work/$name/study.yaml"
  expect "$name: validation, exit code" 0 $?
  run report "$work/$name/study.yaml"
  expect "$name: report, exit code" 0 $?
done

expect "planted: verdict" "relative effect modification" "$(ask planted 'v["verdict"]')"
expect "planted: on the page" 1 "$(page_says planted 'Relative effect modification')"
expect "planted: the registered pair is of TACE" "['tace', 'tace_by_til_score']" "$(ask planted 'sorted(k for k in c if c[k]["registered"])')"
# Of the registered pair the smaller p is doubled and the larger is no smaller than that.
for name in planted null; do
  expect "$name: Holm" True "$(ask $name 'all([
    (p := sorted((x["permutation_p"], x["permutation_p_holm"]) for x in c.values() if x["registered"])) and len(p) == 2,
    abs(p[0][1] - min(1, 2 * p[0][0])) < 1e-12, abs(p[1][1] - min(1, max(p[1][0], 2 * p[0][0]))) < 1e-12])')"
done
expect "null: verdict" "nothing shown" "$(ask null 'v["verdict"]')"
expect "null: on the page" 1 "$(page_says null 'Nothing shown')"
expect "null: nothing is claimed" False "$(ask null 'any(x["claimed"] for x in c.values())')"
expect "null: advice follows no effect score" "risk and average effect" "$(ask null 'v["recommendations_from"]')"
expect "rare: systemic therapy is not estimable" False "$(ask rare 'c["systemic"]["estimable"]')"
expect "rare: and the reason is given" True "$(ask rare '"systemic" in c["systemic"]["reason"]')"
expect "rare: TACE is, and not claimed" "True False" "$(ask rare '"%s %s" % (c["tace"]["estimable"], c["tace"]["claimed"])')"

[ $failures = 0 ] || { tail -40 "$work/log"; exit 1; }
