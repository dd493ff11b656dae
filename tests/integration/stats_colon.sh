#!/usr/bin/env bash
# The worked example of src/stats/README.md: R's colon trial through lobule stats, each figure as R has it.
set -euo pipefail
if ! command -v Rscript > /dev/null || ! Rscript -e 'library(survival)' > /dev/null 2>&1; then
  echo "stats_colon: skipped, R's survival is not installed" >&2
  exit 77
fi
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
fail() { echo "stats_colon: $*" >&2; exit 1; }
Rscript "$LOB_SOURCE/tests/oracles/colon_export.R" "$here/colon.csv" "$here/r.csv"
"$LOBULE" stats "$here/colon.csv" --time time --event status --score score --center center --arm rx --reference Obs \
  --horizons 365,1095,1825 --risks risk365,risk1095,risk1825 > "$here/ours.csv" 2> "$here/ours.txt" || fail "lobule stats failed"
awk -F, '
  function near(a, b) { d = a - b; d = d < 0 ? -d : d; s = b < 0 ? -b : b; d /= s > 1 ? s : 1; if (d > worst) worst = d; return d <= 1e-7 }
  FNR == 1 { next }
  NR == FNR { if ($2 == "(all)") for (k = 3; k <= 5; k++) ours[$1, k] = $k; next }
  { gsub("\"", ""); for (k = 3; k <= 5; k++) if ($k != "NA") {
      n++
      if (!(($1, k) in ours) || ours[$1, k] == "" || !near(ours[$1, k], $k)) { print $1 ": " ours[$1, k] ", R has " $k; bad = 1 } } }
  END { printf "stats_colon: %d figures compared with R, largest difference %.2g\n", n, worst; exit bad || n < 40 }' \
  "$here/ours.csv" "$here/r.csv" || fail "the figures differ"
# What the README quotes is what comes out.
readme=$LOB_SOURCE/src/stats/README.md
awk -F'|' '/^\| `/ { gsub(/[ `]/, "", $2); gsub(/ /, "", $3); print $2 "," $3 }' "$readme" > "$here/quoted"
[ "$(wc -l < "$here/quoted")" -ge 10 ] || fail "the README quotes too little"
while IFS=, read -r metric value; do
  found=$(awk -F, -v m="$metric" '{ name = $1; gsub(/ /, "", name) } name == m && $2 == "(all)" { print $3 }' "$here/ours.csv")
  awk -v a="$found" -v b="$value" 'BEGIN { d = split(b, p, ".") > 1 ? length(p[2]) : 0; e = a - b; if (e < 0) e = -e; exit !(a != "" && e <= .5 * 10 ^ -d * (1 + 1e-9)) }' ||
    fail "README: $metric is $found, not $value"
done < "$here/quoted"
