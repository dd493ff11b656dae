#!/bin/bash
# lobule simulate as a program: what it prints can be read back, and nonsense is refused.
set -euo pipefail
lobule=${LOBULE:?the lobule binary}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

small=(--slides 300 --seconds-per-tile 0.5 --ranks 1,10,100 --rank0-works-up-to 9 --json --static)
"$lobule" simulate "${small[@]}" --svg "$work/a.svg" >"$work/a.json" 2>/dev/null
python3 - "$work/a.json" <<'PY' || fail "figures of the simulation"
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
assert [r["simulate"] for r in rows] == [1, 10, 100]
for r in rows:
    assert r["twice"] == 0 and r["failures"] == 0 and r["slices"] == 1
    assert abs(r["efficiency"] - r["ideal"] / r["makespan"]) < 1e-6
    assert r["efficiency"] < 1.05
assert rows[0]["efficiency"] > 0.97          # opening and writing cost a little
assert 0.85 < rows[1]["efficiency"] < 0.91   # rank 0 of ten only deals
assert rows[2]["efficiency"] > rows[2]["static_efficiency"]
PY
python3 -c "import sys, xml.dom.minidom as m; m.parse(sys.argv[1])" "$work/a.svg" || fail "the plot is no XML"

"$lobule" simulate "${small[@]}" 2>/dev/null >"$work/b.json"
python3 - "$work/a.json" "$work/b.json" <<'PY' || fail "a second run differs"
import json, sys
a, b = ([json.loads(line) for line in open(p)] for p in sys.argv[1:])
measured = {"scheduler_seconds", "coordinator_busy"}
for x, y in zip(a, b, strict=True):
    assert {k: v for k, v in x.items() if k not in measured} == {k: v for k, v in y.items() if k not in measured}
PY

mkdir "$work/out"
printf 'slide_id,center,state,tiles\na,x,done,100\nb,y,failed,\nc,y,done,28\n' >"$work/out/slides.csv"
"$lobule" simulate --slides 300 --seconds-per-tile 0.5 --ranks 10 --json 2>/dev/null |
    python3 -c 'import json,sys; r = json.load(sys.stdin); assert r["workers"] == 10 and r["efficiency"] > 0.97, r' || fail "rank 0 of ten computes too"

tiles=$("$lobule" simulate --plan "$work/out" --ranks 1 --json 2>/dev/null | python3 -c 'import json,sys; print(json.load(sys.stdin)["tiles"])')
[ "$tiles" = 128 ] || fail "sizes from slides.csv: $tiles tiles"

printf '{"bench":"encoder","case":"uni fp32","unit":"tiles/s","rate":4.0,"ranks":2}\n' >"$work/bench.jsonl"
"$lobule" simulate --capacity --bench "$work/bench.jsonl" --all-cores 0.5 --json 2>/dev/null >"$work/c.json"
python3 - "$work/c.json" <<'PY' || fail "capacity"
import json, sys
rows = {(r["capacity"], r["precision"]): r for r in map(json.loads, open(sys.argv[1]))}
uni = rows["uni", "fp32"]
assert uni["measured"] and abs(uni["rate"] - 4 / 2 * 0.5) < 1e-6
assert not rows["uni", "bf16"]["measured"] and len(rows) == 4
PY

for wrong in "--ranks 0" "--ranks ten" "--slides 0" "--spread -1" "--rank0-works-up-to 0" "--straggler-share 2" "--plan $work/none" extra; do
    code=0
    # shellcheck disable=SC2086  # options are words
    "$lobule" simulate $wrong >/dev/null 2>&1 || code=$?
    [ "$code" = 2 ] || fail "simulate $wrong: exit code $code"
done

echo "passed"
