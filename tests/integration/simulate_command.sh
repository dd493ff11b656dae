#!/bin/bash
# lobule simulate as a program: what it prints can be read back, and nonsense is refused.
set -euo pipefail
lobule=${LOBULE:?the lobule binary}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

small=(--slides 300 --seconds-per-tile 0.5 --ranks 1,10,100 --rank0-works-up-to 9 --json --static --record-seconds 1e-6)
"$lobule" simulate "${small[@]}" --svg "$work/a.svg" >"$work/a.json" 2>/dev/null
python3 - "$work/a.json" <<'PY' || fail "figures of the simulation"
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
assert [r["simulate"] for r in rows] == [1, 10, 100]
for r in rows:
    assert r["twice"] == 0 and r["failures"] == 0 and r["slices"] == 1
    assert abs(r["efficiency"] - r["ideal"] / r["makespan"]) < 1e-6
    assert r["efficiency"] < 1.05
    assert r["inputs"]["slides"] == 300 and r["inputs"]["seconds_per_tile"] == 0.5 and r["inputs"]["seed"] == 1
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
printf 'slide_id,center,state,tiles\na,x,done,100\nb,y,failed,\nc,y,done,25\nd,y,failed,5000\ne,x,quarantined,300\n' >"$work/out/slides.csv"
"$lobule" simulate --slides 300 --seconds-per-tile 0.5 --ranks 10 --json 2>/dev/null |
    python3 -c 'import json,sys; r = json.load(sys.stdin); assert r["workers"] == 10 and r["efficiency"] > 0.97, r' || fail "rank 0 of ten computes too"

tiles=$("$lobule" simulate --plan "$work/out" --ranks 1 --json 2>"$work/fit" | python3 -c 'import json,sys; print(json.load(sys.stdin)["tiles"])')
[ "$tiles" = 125 ] || fail "sizes from slides.csv: $tiles tiles"
grep -q 'median 50 and sigma 0.9803' "$work/fit" || fail "the fit of 25 and 100: $(cat "$work/fit")"
"$lobule" simulate --plan "$work/out" --fit --slides 20000 --ranks 8 --seconds-per-tile 0.01 --json 2>/dev/null |
    python3 -c 'import json,sys,math; r = json.load(sys.stdin); assert abs(r["tiles"] / 20000 / (50 * math.exp(0.9803**2 / 2)) - 1) < 0.1, r["tiles"]' || fail "sizes drawn from the fit"

# What bench measured is read back. Two of two cores were busy: nothing is slowed down again.
cat >"$work/bench.jsonl" <<'J'
{"bench":"encoder","case":"uni fp32","unit":"tiles/s","rate":9.0,"ranks":2}
{"bench":"encoder","case":"uni fp32","unit":"tiles/s","rate":4.0,"ranks":2,"spread":0.1349,"weights_mib":1024.0,"working_mib":1792.0,"lower":null,"ceiling":null}
{"bench":"encoder","case":"texture fp32","unit":"tiles/s","rate":100.0,"ranks":1,"spread":null,"weights_mib":0.0,"working_mib":0.0}
{"bench":"train","case":"abmil","unit":"tiles/s","rate":1.0,"ranks":2,"gflops":14.0}
J
small=(--slides 300 --capacity --bench "$work/bench.jsonl" --json)
TMPDIR=$work/none "$lobule" simulate "${small[@]}" --cores 2 --nodes 1 --node-gib 16 --all-cores 0.5 2>/dev/null >"$work/busy.json" || fail "capacity of busy cores"
"$lobule" simulate "${small[@]}" --cores 8 --nodes 2 --node-gib 10 --all-cores 0.5 --encoder uni 2>/dev/null >"$work/half.json" || fail "capacity of half busy cores"
"$lobule" simulate "${small[@]}" --cores 4 --nodes 8 --node-gib 8 --encoder texture --train-dim 1024 --train-tiles 8000 --patients 1000 2>/dev/null >"$work/spread.json" || fail "capacity of texture"
python3 - "$work" <<'PY' || fail "capacity"
import json, math, sys
busy, half, spread = ([json.loads(line) for line in open(f"{sys.argv[1]}/{name}.json")] for name in ("busy", "half", "spread"))
rows = {(r["capacity"], r.get("precision")): r for r in busy if r["capacity"] != "validation"}
uni = rows["uni", "fp32"]
assert uni["measured"] and abs(uni["rate"] - 4 / 2) < 1e-6 and abs(uni["inputs"]["spread"] - 0.1) < 1e-6, uni
assert "all 2 cores" in uni["rate_from"] and "record_seconds" not in uni["inputs"]   # no record is timed, no folder needed
assert not rows["uni", "bf16"]["measured"] and "assumed" in rows["uni", "bf16"]["rate_from"] and len(rows) == 4
assert abs(rows["h-optimus-1", "fp32"]["rate"] - 90 * 0.5 / 592) < 1e-5
assert [r["dim"] for r in busy[4:]] == [1024, 1536]
uni, training = half
assert abs(uni["rate"] - 4 / 2 * 0.5) < 1e-6 and "2 of 8" in uni["rate_from"], uni["rate_from"]
assert uni["ranks_a_node"] == 4, uni                  # (10 - 1) GiB for ranks of 1.75 + 0.25
assert abs(uni["node_gigabytes"] - 9) < 1e-6
work = uni["up_hours"] * 3600 * 8                     # rank-seconds
assert 0.8 < 300 * 8000 * math.exp(0.32) * 1.0 / work < 1.2, work
assert abs(uni["node_hours"] - 2 * uni["up_hours"]) < 1e-3 * uni["node_hours"] and uni["walltime_hours"] == 24
assert uni["slices"] == math.ceil(uni["up_hours"] / 24) and training["gflops_core"] == 7
assert abs(uni["days"] * 24 - uni["up_hours"] - (uni["slices"] - 1) / 6) < 0.01
# 15.3 GiB of features, 6.4 a node: sets of three nodes and of five, whose ranks pair up across them.
texture, training = spread
assert texture["precision"] == "fp32" and texture["ranks_a_node"] == 4 and texture["inputs"]["spread"] == 0.1   # not told
assert training["groups"] == 8 and training["ranks_a_group"] == 5 and training["models"] == 100, training
assert training["busy_groups"] == 8 and 1 < training["group_speedup"] < 5
assert abs(training["useful_cores"] - 8 * training["group_speedup"]) < 1e-3 * training["useful_cores"]
PY
# A node of 4 ranks in groups of two neighbours holds the cohort twice over, whatever is asked for.
"$lobule" simulate --slides 10 --capacity --cores 4 --nodes 8 --node-gib 8 --groups 16 --train-dim 1024 --train-tiles 8000 --patients 1000 --json 2>/dev/null |
    python3 -c 'import json,sys; r = [json.loads(l) for l in sys.stdin]; assert len(r) == 5 and "nodes would do" in r[4]["problem"], r[4]' || fail "groups that do not fit"
"$lobule" simulate --slides 300 --bench "$work/bench.jsonl" --encoder uni --node-ranks 2 --ranks 2 --json 2>/dev/null |
    python3 -c 'import json,sys; r = json.load(sys.stdin)["inputs"]; assert abs(r["seconds_per_tile"] - 0.5) < 1e-9 and abs(r["spread"] - 0.1) < 1e-6 and r["weights_gib"] == 1, r' || fail "simulate --bench"

for wrong in "--bench $work/bench.jsonl" "--bench $work/bench.jsonl --encoder uni --precision bf16" "--bench $work/bench.jsonl --encoder uni --spread 0.1" \
    "--encoder uni" "--capacity --svg $work/x.svg" "--capacity --ranks 3" "--capacity --static" "--capacity --seconds-per-tile=1" "--capacity --record-seconds 1e-6" "--cores 3" \
    "--nodes 3" "--node-gib 64" "--fit" "--plan $work/out --slides 10" "--plan $work/out --tiles-median 10" "--plan $work/out --tiles-sigma 1 --fit" \
    "--message-seconds -1" "--sync-seconds -0.1" "--open-seconds -1" "--write-seconds=-3" "--bytes-per-tile -5" "--range-seconds 0" "--latency inf" \
    "--node-mtbf-hours -1" "--record-seconds -1" "--capacity --cores 0" "--capacity --node-gib 1" "--capacity --epochs -1" \
    "--capacity --bench $work/fit"; do
    code=0
    # shellcheck disable=SC2086  # options are words
    "$lobule" simulate $wrong >/dev/null 2>"$work/said" || code=$?
    [ "$code" = 2 ] && [ -s "$work/said" ] || fail "simulate $wrong: exit code $code"
done
"$lobule" simulate --seconds-per-tile nan >/dev/null 2>"$work/said" && fail "NaN seconds a tile"
grep -q "core-hours" "$work/said" && fail "a head before the error: $(cat "$work/said")"
[ ! -e "$work/x.svg" ] || fail "a refused simulation draws"

for wrong in "--ranks 0" "--ranks ten" "--slides 0" "--spread -1" "--rank0-works-up-to 0" "--straggler-share 2" "--plan $work/none" extra; do
    code=0
    # shellcheck disable=SC2086  # options are words
    "$lobule" simulate $wrong >/dev/null 2>&1 || code=$?
    [ "$code" = 2 ] || fail "simulate $wrong: exit code $code"
done

echo "passed"
