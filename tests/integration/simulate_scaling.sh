#!/bin/bash
# What slurm/scaling.sh makes of the results of a sweep: medians, efficiencies worked out by hand, a table and a plot; no
# efficiency against any size but the smallest.
set -u
: "${LOB_SOURCE:?root of the source}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "simulate_scaling: FAILED: $*" >&2; exit 1; }
scaling=$LOB_SOURCE/slurm/scaling.sh
run() { # KIND RANKS TILES SECONDS...
  local dir=$work/sweep/$1-$2 tiles=$3; shift 3
  mkdir -p "$dir"
  echo '"program": "lobule", "sbatch_options": "-p \"low\""' >"$dir/provenance"
  for seconds in "$@"; do echo "$tiles $seconds 97 $seconds"; done >"$dir/results"
}
mkdir "$work/sweep"
printf '%s\n' "sizes 1 2 4" "kinds strong weak" "repeats 3" >"$work/sweep/sweep"
run strong 1 8000 900.0 800.0 790.0; run strong 2 8000 408.0 500.0 400.0; run strong 4 8000 250.0 250.0 250.0
run weak 1 2000 200.0 210.0 190.0; run weak 2 4000 210.0 200.0 220.0; run weak 4 8000 208.0 208.0 100.0
bash "$scaling" gather "$work/sweep" >"$work/lines" || fail "gather"
python3 - "$work/lines" <<'PY' || fail "rates and efficiencies"
import json, sys
rows = {(r["case"], r["ranks"]): r for r in map(json.loads, open(sys.argv[1]))}
assert len(rows) == 6
for (kind, ranks), rate, ratio in [(("strong", 1), 10, 1), (("strong", 2), 19.61, 0.980), (("strong", 4), 32, 0.8),
                                   (("weak", 1), 10, 1), (("weak", 2), 19.05, 0.952), (("weak", 4), 38.46, 0.962)]:
    row = rows[kind, ranks]
    assert abs(row["rate"] - rate) < 0.01 and abs(row["ratio"] - ratio) < 0.001 and abs(row["ceiling"] - 10 * ranks) < 0.01, row
row = rows["strong", 2]
assert row["repeats"] == 3 and row["seconds"] == 408 and row["least"] == 16 and row["most"] == 20 and row["seconds_all"] == [408, 500, 400], row
assert row["lower"] is None, "three runs give no 95 % interval"
assert row["provenance"]["sbatch_options"] == '-p "low"'
PY
bash "$scaling" table "$work/sweep" >"$work/table" || fail "table"
[ "$(wc -l <"$work/table")" = 7 ] || fail "the table has $(wc -l <"$work/table") lines"
grep -Eq '^strong +4 +8000 +3 +250.00 +32.00 +32.00 +32.00 +40.00 +0.800 +97$' "$work/table" || { cat "$work/table"; fail "a line of the table"; }
bash "$scaling" plot "$work/sweep" "$work/plot.svg" || fail "plot"
python3 - "$work/plot.svg" <<'PY' || fail "the plot"
import sys, xml.dom.minidom as m
circles = [(float(c.getAttribute("cx")), float(c.getAttribute("cy"))) for c in m.parse(sys.argv[1]).getElementsByTagName("circle")]
assert len(circles) == 12
assert (60.0, 340.0) in circles and (470.0, 60.0) in circles   # one rank: speed-up 1, efficiency 1
assert (790.0, 116.0) in circles                               # strong, 4 ranks: efficiency .8
PY

# A size that is not complete is named; without the smallest there is nothing to compare with.
printf '%s\n' "sizes 1 2 4" "kinds weak" "repeats 3" >"$work/sweep/sweep"
run weak 2 4000 210.0 200.0
bash "$scaling" gather "$work/sweep" >"$work/lines" 2>"$work/said"; rc=$?
[ "$rc $(wc -l <"$work/lines")" = "3 2" ] && grep -q 'weak with 2 ranks has not all its 3 runs' "$work/said" || fail "an incomplete size: $rc, $(cat "$work/said")"
bash "$scaling" plot "$work/sweep" "$work/part.svg" 2>/dev/null || fail "the plot of what is complete"
rm -r "$work/sweep/weak-1"
bash "$scaling" gather "$work/sweep" >"$work/lines" 2>"$work/said"; rc=$?
[ "$rc" = 1 ] && [ ! -s "$work/lines" ] && grep -q 'against the smallest size, 1 ranks' "$work/said" || fail "efficiencies without the smallest size: $rc, $(cat "$work/lines")"

# Ten runs give an interval of the median, by order statistics.
printf '%s\n' "sizes 1" "kinds strong" "repeats 10" >"$work/sweep/sweep"
run strong 1 1000 100 50 40 25 20 12.5 10 8 5 4
bash "$scaling" gather "$work/sweep" | python3 -c '
import json, sys
row = json.load(sys.stdin)
assert (row["lower"], row["upper"], row["rate"]) == (10, 250, 65), row' || fail "the interval of ten runs"
mkdir "$work/empty"
bash "$scaling" plot "$work/empty" "$work/none.svg" 2>/dev/null && fail "an empty sweep was plotted"
echo "passed"
