#!/usr/bin/env bash
# lobule stats on the lung table: known figures on standard output, people's text on standard error, and every bad
# input named by file, line and column with exit code 2.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"

fail() { echo "stats_command: $*" >&2; exit 1; }
# The score to the last bit, for which scores tie depends on it; center by age, arm by sex.
awk -F, -v OFS=, 'NR == 1 { print "days", "died", "lp", "risk", "center", "arm" }
  NR > 1 { lp = .01 * $3 + .5 * $5 - .5 * $4; printf "%s,%s,%.17g,%.4f,%s,%s\n", $1, $2, lp, 1 / (1 + exp(-lp)),
           $3 % 3 == 0 ? "\"St. \"\"A\"\", North\"" : "\xe4\xb8\xad\xe5\xbf\x83" $3 % 3, $4 == 1 ? "none" : "tace" }' \
  "$LOB_SOURCE/tests/oracles/stats_lung.csv" > table.csv

stats() { "$LOBULE" stats "$@" --time days --event died --score lp; }
stats table.csv > plain.csv 2> plain.txt || fail "plain run"
cell() { awk -F, -v m="$1" '$1 == m && $2 == "(all)" { print $3 }' "$2"; }
close_to() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a - b < 5e-10 && b - a < 5e-10) }' || fail "$3: $1, wanted $2"; }
close_to "$(cell c plain.csv)" 0.634583312276 "C"
close_to "$(cell uno_c plain.csv)" 0.622989726266 "Uno's C"
close_to "$(cell median_survival plain.csv)" 310 "median"
grep -q "227 rows, 0 left out" plain.txt || fail "summary for people"
grep -q "center" plain.csv || fail "header"

stats table.csv --center center --arm arm --reference none --horizons 180,365 --risks risk,risk --bootstrap 50 \
  > full.csv 2> full.txt || fail "full run"
close_to "$(cell survival@365 full.csv)" 0.411044451 "S(365)"
close_to "$(cell rmst_difference\[tace\ -\ none\]@365 full.csv)" 54.725834667 "RMST difference"
for metric in brier@365 observed_expected@365 ici@365 auc@180 net_benefit_at_0.5@365 interaction_p c_bootstrap; do
  [ -n "$(cell $metric full.csv)" ] || fail "no $metric"
done
grep -q '^c,"St. ""A"", North",' full.csv || fail "a center's name with quotes and a comma"
grep -q '(pooled)' full.csv || fail "pooled figures"
stats table.csv --center center --bootstrap 50 --seed 1 > a.csv 2> /dev/null
sort -R --random-source="$LOB_SOURCE/LICENSE" <(tail -n +2 table.csv) | cat <(head -n 1 table.csv) - > shuffled.csv
stats shuffled.csv --center center > b.csv 2> /dev/null
rounded() { # the last bits of a sum do depend on its order
  awk -v OFS=, '{ n = split($0, cell, ","); for (i = 1; i <= n; i++)
    printf "%s%s", cell[i] ~ /^-?[0-9.e+-]+$/ ? sprintf("%.10g", cell[i]) : cell[i], i < n ? "," : "\n" }' "$1"
}
diff <(rounded a.csv | grep -v bootstrap) <(rounded b.csv) || fail "the order of the rows changes a figure"
stats table.csv --json 2> /dev/null | grep -q '"metric": "c"' || fail "JSON"

expect_input_error() { # text, then options
  local text=$1 code=0
  shift
  "$LOBULE" stats "$@" > out.csv 2> err.txt || code=$?
  [ $code -eq 2 ] || fail "exit $code instead of 2 for: $*"
  [ ! -s out.csv ] || fail "output in spite of an error: $*"
  grep -qF -- "$text" err.txt || fail "message '$(cat err.txt)' lacks '$text'"
}
base=(--time days --event died --score lp)
expect_input_error "expected one CSV file" "${base[@]}"
expect_input_error "are needed" table.csv --time days
expect_input_error "nosuch" table.csv --time nosuch --event died --score lp
expect_input_error "no positive number" table.csv "${base[@]}" --horizons 10,x
expect_input_error "1 columns for 2 horizons" table.csv "${base[@]}" --horizons 10,20 --risks risk
expect_input_error "no row" table.csv "${base[@]}" --arm arm --reference placebo
expect_input_error "missing.csv" missing.csv "${base[@]}"
expect_input_error "--nonsense" table.csv "${base[@]}" --nonsense
printf 'days,died,lp\n1,1,2\n-3,0,1\n' > negative.csv
expect_input_error "negative.csv:3: column days" negative.csv "${base[@]}"
printf 'days,died,lp\n1,2,2\n' > event.csv
expect_input_error "event.csv:2: column died" event.csv "${base[@]}"
printf 'days,died,lp\n1,1,high\n' > text.csv
expect_input_error "text.csv" text.csv "${base[@]}"
printf 'days,died,lp\n1,1,\n' > empty.csv
expect_input_error "no row is complete" empty.csv "${base[@]}"

# Rows of two models would count each patient twice.
printf 'patient_id,model,days,died,lp\np,a,1,1,2\np,b,1,1,1\nq,a,2,0,1\nq,b,2,0,1\n' > twice.csv
expect_input_error "twice.csv:3: column patient_id: 'p' has a row already" twice.csv "${base[@]}"
expect_input_error "no row is complete" twice.csv "${base[@]}" --only model=c
expect_input_error "expected COLUMN=VALUE" twice.csv "${base[@]}" --only model
stats twice.csv --only model=a > /dev/null 2> only.txt || fail "--only"
grep -q "^2 rows, 0 left out" only.txt || fail "--only: $(cat only.txt)"

# Tables in which little can be estimated still give every row, with its reason.
printf 'days,died,lp,c\n5,0,1,a\n' > one.csv
stats one.csv --center c --horizons 3 > one.out 2> /dev/null || fail "one patient"
grep -q '^c,(all),,,,1,0,no event$' one.out || fail "a reason for C of one patient: $(grep '^c,' one.out)"
echo "stats_command: all passed"
