#!/bin/bash
# lobule bench as a program: all of it with its page, what single benches print, and refusals.
set -euo pipefail
lobule=${LOBULE:?the lobule binary}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
small=(--seconds 0 --bags 4 --centers 2 --tiles 50 --dim 32 --hidden 16 --attention 8 --seeds 1 --dir "$work")
unset OMPI_MCA_io

"$lobule" bench all "${small[@]}" --repeats 2 --batch 2 --encoder texture,kaiko-s16 --page "$work/all.html" >"$work/all.jsonl" 2>"$work/log" ||
    fail "bench all: $(tail -3 "$work/log")"
python3 - "$work/all.jsonl" "$work/all.html" <<'PY' || fail "bench all"
import json, sys
import xml.etree.ElementTree as xml
lines = [json.loads(line) for line in open(sys.argv[1])]
by = {}
for r in lines:
    by.setdefault(r["bench"].split("-")[0], []).append(r)
    assert r["rate"] > 0 and r["repeats"] in (1, 2) and r["lower"] is r["upper"] is None, r
    assert r["ratio_lower"] is r["ratio_upper"] is None and (r["spread"] is None) == (r["repeats"] == 1), r
    assert r["ceiling_kind"] in (None, "bound", "reference", "budget"), r
    assert (r["ceiling_kind"] is None) == (r["ratio"] is None) == (r["ceiling"] is None) == (r["ceiling_name"] is None), r
    made, given = r["provenance"], r["options"]
    assert given["repeats"] == 2 and given["batch"] == 2 and given["precision"] == "fp32" and given["train"]["bags"] == 4
    assert made["rank_map"] == {made["host"]: 1} and made["libraries"]["hdf5"] and made["commit"] and made["kernel"], made
    assert made["io_module"] == "as MPI chooses" and made["file_system"] and made["time"], made
assert set(by) == {"machine", "encoder", "read", "store", "train", "schedule", "stats"}, set(by)
assert [r["case"] for r in by["encoder"]] == ["texture fp32", "kaiko-s16 fp32"]
assert [r["ceiling_kind"] for r in by["encoder"]] == ["reference", "bound"]
assert len(by["read"]) == 2 and all(r["drawn"] and r["tiles"] > 100 for r in by["read"])
assert not by["read"][0]["cached"]
assert by["read"][0]["ceiling_name"] == "bare decoding of these JPEG tiles" and by["read"][0]["ceiling_kind"] == "bound"
assert any(r["case"].startswith("memory") for r in by["machine"])

text = open(sys.argv[2]).read()
assert "(null)" not in text and "nan" not in text.lower().replace("provenance", "")
page = xml.fromstring(text)
space = "{http://www.w3.org/1999/xhtml}"
plots = list(page.iter("{http://www.w3.org/2000/svg}svg"))
titles = [h.text for h in page.iter(space + "h2")]
assert titles == ["encoder", "read", "store", "train", "schedule", "stats", "No bound"], titles
assert len(plots) == 6 and all(any(e.get("class") == "one" for e in p.iter()) for p in plots)
assert not any(e.get("class") == "whisker" for e in page.iter())
cells = {"".join(td.itertext()) for td in page.iter(space + "td")}
for r in lines:
    assert r["bench"] in cells and r["case"] in cells, r["case"]
PY

# Six repetitions have an interval, and ranks are added up before the median is taken.
for ranks in 1 2; do
    mpirun --oversubscribe -n $ranks "$lobule" bench stats --seconds 0 --page "$work/stats.html" 2>/dev/null >"$work/stats.json"
    python3 - "$work" $ranks <<'PY' || fail "bench stats on $ranks ranks"
import json, sys
r = json.load(open(sys.argv[1] + "/stats.json"))
assert r["bench"] == "stats" and r["ranks"] == int(sys.argv[2]) and r["repeats"] == 6
assert 0 < r["lower"] <= r["rate"] <= r["upper"] and r["spread"] >= 0
assert abs(r["ratio"] - r["rate"] / r["ceiling"]) < 1e-4 * r["ratio"] and r["ratio_lower"] <= r["ratio"] <= r["ratio_upper"]
assert sum(r["provenance"]["rank_map"].values()) == r["ranks"]
assert 'class="whisker"' in open(sys.argv[1] + "/stats.html").read()
PY
done

"$lobule" bench store --seconds 0 --repeats 5 --dir "$work" 2>/dev/null | python3 -c '
import json, sys
rows = {r["case"]: r for r in map(json.loads, sys.stdin)}
raw, observed = (rows[f"writing 1 MiB ranges, {kind}"] for kind in ("raw", "observed"))
assert raw["repeats"] == 5 and raw["ratio_paired"] and raw["ceiling_kind"] == "bound"
assert raw["rate"] > observed["rate"] > 0 and raw["ratio"] > observed["ratio"] and raw["ceiling"] > 0
assert 0.3 < raw["ratio"] < 1.2, raw["ratio"]
assert rows["reading 1 MiB ranges, cached"]["ratio"] > 0
assert rows["float16 and checksum of these rows"]["ratio"] is None
' || fail "bench store"

# Training counts folds as repetitions, and another discarded before them.
"$lobule" bench train "${small[@]}" --repeats 3 2>/dev/null | python3 -c '
import json, sys
passes, whole, memory = map(json.loads, sys.stdin)
assert passes["repeats"] == whole["repeats"] == 3 and memory["repeats"] == 1 and passes["rate"] > whole["rate"]
assert memory["ceiling_kind"] == "budget" and memory["ceiling"] == 5e8
' || fail "bench train"

[ -z "$(find "$work" -name 'lobule-bench*')" ] || fail "benches leave files behind"

refused() {
    code=0
    "$lobule" bench "$@" >/dev/null 2>"$work/refused" || code=$?
    [ "$code" = 2 ] && [ -s "$work/refused" ] || fail "bench $*: exit code $code"
}
refused nothing
refused stats --repeats 0
refused stats --repeats 51
refused stats --encoder texture
refused store --slide x.svs
refused encoder texture --encoder uni
refused encoder --encoder no-such-encoder
refused read --slide "$work/none.svs"
echo "passed"
