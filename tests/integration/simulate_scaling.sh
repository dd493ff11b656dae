#!/bin/bash
# What slurm/scaling.sh makes of the logs of a sweep: rates, efficiencies worked out by hand, a table and a plot.
set -u
: "${LOB_SOURCE:?root of the source}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "simulate_scaling: FAILED: $*" >&2; exit 1; }
run() { # KIND RANKS TILES SECONDS
  local dir=$work/sweep/$1-$2
  mkdir -p "$dir/out"
  echo 100.0 >"$dir/begin"
  echo 200 >"$dir/end"
  printf '{"message":"embed: 20 slides, %d tiles, of which 0 are done already"}\n{"message":"embed: %d ranks busy 97 %% of %s s each (least 90 %%)"}\n' "$3" "$2" "$4" >"$dir/out/log.jsonl"
}
run strong 1 8000 800.0; run strong 2 8000 408.0; run strong 4 8000 250.0
run weak 1 2000 200.0; run weak 4 8000 208.0
scaling=$LOB_SOURCE/slurm/scaling.sh
bash "$scaling" gather "$work/sweep" >"$work/lines" || fail "gather"
python3 - "$work/lines" <<'PY' || fail "rates and efficiencies"
import json, sys
rows = {(r["case"], r["ranks"]): r for r in map(json.loads, open(sys.argv[1]))}
assert len(rows) == 5
for (kind, ranks), rate, ratio in [(("strong", 1), 10, 1), (("strong", 2), 19.61, 0.980), (("strong", 4), 32, 0.8),
                                   (("weak", 1), 10, 1), (("weak", 4), 38.46, 0.962)]:
    row = rows[kind, ranks]
    assert abs(row["rate"] - rate) < 0.01 and abs(row["ratio"] - ratio) < 0.001 and abs(row["ceiling"] - 10 * ranks) < 0.01, row
PY
bash "$scaling" table "$work/sweep" >"$work/table" || fail "table"
[ "$(wc -l <"$work/table")" = 6 ] || fail "the table has $(wc -l <"$work/table") lines"
grep -Eq '^strong +4 +8000 +250.00 +32.00 +40.00 +0.800 +97$' "$work/table" || { cat "$work/table"; fail "a line of the table"; }
bash "$scaling" plot "$work/sweep" "$work/plot.svg" || fail "plot"
python3 - "$work/plot.svg" <<'PY' || fail "the plot"
import sys, xml.dom.minidom as m
circles = [(float(c.getAttribute("cx")), float(c.getAttribute("cy"))) for c in m.parse(sys.argv[1]).getElementsByTagName("circle")]
assert len(circles) == 10
assert (60.0, 340.0) in circles and (470.0, 60.0) in circles   # one rank: speed-up 1, efficiency 1
assert (790.0, 116.0) in circles                               # strong, 4 ranks: efficiency .8
PY
mkdir "$work/empty"
bash "$scaling" plot "$work/empty" "$work/none.svg" 2>/dev/null && fail "an empty sweep was plotted"
echo "passed"
