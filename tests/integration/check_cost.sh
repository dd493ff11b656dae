#!/bin/bash
# lobule check says what a study will cost on given nodes, from what lobule bench measured, or says what it lacks.
set -euo pipefail
lobule=${LOBULE:?the lobule binary}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

"$lobule" demo "$work/c" --patients 12 --centers 3 --tiles 12 --seed 3 >"$work/log" 2>&1 || { cat "$work/log"; fail "demo"; }
study=$work/c/study.yaml
"$lobule" check "$study" --json >"$work/here.json" 2>"$work/here.txt" || { cat "$work/here.txt"; fail "check"; }
grep -q 'walltime .* h to ask for' "$work/here.txt" || { cat "$work/here.txt"; fail "no walltime"; }
cat >"$work/bench.jsonl" <<'J'
{"bench":"encoder","case":"texture fp32","unit":"tiles/s","rate":0.04,"ranks":2,"spread":0.0,"weights_mib":0.0,"working_mib":768.0}
{"bench":"train","case":"abmil","unit":"tiles/s","rate":1.0,"ranks":1,"gflops":25.0}
J
plan() { "$lobule" check "$study" --json --bench "$work/bench.jsonl" "$@" 2>"$work/said"; }
plan --nodes 3 --cores 2 --node-gib 64 >"$work/busy.json" || { cat "$work/said"; fail "with a bench"; }
plan --nodes 3 --cores 4 --node-gib 2.5 --walltime 30:00 >"$work/small.json" || { cat "$work/said"; fail "on small nodes"; }
plan --nodes 3 --cores 4 --node-gib 0.5 >"$work/tiny.json" || { cat "$work/said"; fail "on nodes without room"; }
grep -q 'holds no rank' "$work/said" || fail "nodes without room: nothing is said"
python3 - "$work" <<'PY' || fail "what it costs"
import json, math, sys
here, busy, small, tiny = (json.load(open(f"{sys.argv[1]}/{name}.json")) for name in ("here", "busy", "small", "tiny"))
tiles = here["predicted_tiles"]
e = here["embedding"]
assert e["seconds_a_tile"] > 0 and 0 < e["efficiency"] < 1.1 and e["slices"] == 1 and e["walltime_hours"] == 1, e
assert "timed on this machine" in e["seconds_from"]
e = busy["embedding"]
assert abs(e["seconds_a_tile"] - 2 / 0.04) < 1e-6 and e["ranks_a_node"] == 2     # no factor: both cores were busy
assert abs(busy["predicted_core_hours"] - tiles * 50 / 3600) < 1e-6 * tiles
assert abs(e["node_hours"] - 3 * e["hours"]) < 1e-9 and e["hours"] > tiles * 50 / 3600 / 6
assert abs(e["hours"] - tiles * 50 / 3600 / 6 / e["efficiency"]) < 0.1 * e["hours"]
assert e["walltime_hours"] == min(24, math.ceil(1.2 * e["hours"]))
assert busy["predicted_gib"] > tiles * (2 * 30) / 2**30
e = small["embedding"]
assert e["ranks_a_node"] == 2 and abs(e["node_gib"] - 2.0) < 1e-6                  # of 0.75 + 0.25 GiB
assert abs(e["seconds_a_tile"] - 2 / 0.04 / 0.8) < 1e-6 and "assumed factor" in e["seconds_from"]
assert e["walltime_hours"] == 0.5 and e["slices"] >= max(2, e["hours"] / 0.5), e
v = busy["validation"]
assert v["gflops_measured"] and v["gflops_core"] == 25 and v["ranks_a_group"] == 1 and v["hours"] > 0, v
assert not here["validation"]["gflops_measured"]
assert "holds no rank" in tiny["embedding"]["problem"]
PY

# A preset of one's own is measured under its own name, whatever name: says of its network.
tiny=${LOB_SOURCE:?root of the source}/tests/oracles/vit/tiny-timm
cp "$tiny/preset.yaml" "$work/c/ours.yaml"
sed "/^encoder/d; s#^cohort.*#&\nencoder: {name: vit, config: ours.yaml, weights: $tiny/weights.safetensors}#" "$study" >"$work/c/ours-study.yaml"
echo '{"bench":"encoder","case":"ours fp32","unit":"tiles/s","rate":4.0,"ranks":2}' >"$work/ours.jsonl"
"$lobule" check "$work/c/ours-study.yaml" --json --bench "$work/ours.jsonl" --cores 2 --node-gib 64 >"$work/ours.json" 2>"$work/said" ||
    { cat "$work/said"; fail "a preset of one's own"; }
python3 -c 'import json, sys; e = json.load(open(sys.argv[1]))["embedding"]; assert e["seconds_a_tile"] == 0.5, e' "$work/ours.json" ||
    fail "the speed of a preset of one's own"

# An encoder that was not measured, files that are none, numbers without sense.
echo '{"bench":"encoder","case":"uni fp32","unit":"tiles/s","rate":4.0,"ranks":2}' >"$work/other.jsonl"
for wrong in "--bench $work/other.jsonl" "--bench $work/none" "--bench $work/here.txt" "--nodes 0" "--cores -1" "--node-gib 0" "--node-gib inf" "--walltime x"; do
    code=0
    # shellcheck disable=SC2086  # options are words
    "$lobule" check "$study" $wrong >/dev/null 2>"$work/said" || code=$?
    [ "$code" = 2 ] && grep -q 'lobule check: .' "$work/said" || fail "check $wrong: exit code $code"
done

"$lobule" check "$work/none.yaml" --cores 0 2>"$work/said" && fail "no cores at all"
grep -q -- '--cores and --node-gib must be above 0' "$work/said" || { cat "$work/said"; fail "the study is read before --cores is looked at"; }

# From features alone: what validation takes.
"$lobule" demo --bags --patients 60 --centers 3 --tiles 50 --dim 32 "$work/bags" >"$work/log" 2>&1 || { cat "$work/log"; fail "demo --bags"; }
"$lobule" check "$work/bags/study.yaml" --json --nodes 2 --cores 4 >"$work/bags.json" 2>"$work/said" || { cat "$work/said"; fail "check of features"; }
python3 - "$work/bags.json" <<'PY' || fail "validation from features"
import json, sys
r = json.load(open(sys.argv[1]))
v = r["validation"]
assert "embedding" not in r and v["bundles"] <= v["models"] and v["groups"] == 8, v
assert abs(v["features_gib"] * 2**30 / (60 * 50 * 32 * 2) - 1) < 0.3, v
assert v["hours"] > 0
PY
grep -q 'groups of up to' "$work/said" || fail "nothing about validation is said to people"

# Gigabytes of other tools' files are not read unasked, wherever their layout puts them.
mkdir "$work/clam"
mv "$work/bags/features" "$work/clam/h5_files"
truncate -s 5G "$(find "$work/clam/h5_files" -type f | head -n 1)"
sed 's#^features:.*#features: ../clam#' "$work/bags/study.yaml" >"$work/bags/clam.yaml"
"$lobule" check "$work/bags/clam.yaml" >/dev/null 2>"$work/said" || { cat "$work/said"; fail "check of large files"; }
grep -q 'not predicted: counting .* 5 GiB; --all does' "$work/said" || { cat "$work/said"; fail "large files are read"; }
"$lobule" check --all "$work/bags/clam.yaml" >/dev/null 2>"$work/said" || { cat "$work/said"; fail "check --all"; }
grep -q 'groups of up to' "$work/said" || { cat "$work/said"; fail "--all does not read large files"; }
echo "passed"
