#!/bin/bash
# attention.h5: every tile of every held-out patient in the order of the store, whatever the ranks, over a
# resumed run, and over a store of two parts with tiles that do not count.
. "$(dirname "$0")/expect_lib.bash"
python=
for candidate in python3 /usr/bin/python3; do
  "$candidate" -c 'import h5py' 2>/dev/null && python=$candidate && break
done
[ -n "$python" ] || { echo "skipped: no python3 with h5py (Debian: python3-h5py)"; exit 77; }
validate() { # RANKS OUTPUT [study [option ...]]
  launch "$1" timeout 120 "$LOBULE" validate --output "$work/$2" "${@:4}" "$work/${3:-demo}/study.yaml" >"$work/said" 2>&1
  local code=$?
  cat "$work/said" >>"$work/log"
  return $code
}
sum() { if [ -f "$work/$1/attention/attention.h5" ]; then sha256sum <"$work/$1/attention/attention.h5"; else echo "none in $1"; fi; }
train() { ls "$work/$1"/train/*.attention; }
trained() { sed -n 's/.*validation: \([0-9]* of [0-9]*\) models to train.*/\1/p' "$work/said"; }
# What h5py finds: COHORT OUTPUT [part ...]; prints the slides that are without any attention.
judge() {
  "$python" - "$work/$1" "$work/$2" "${@:3}" <<'P'
import csv, hashlib, h5py, numpy as np, sys
cohort, out, parts = sys.argv[1], sys.argv[2], sys.argv[3:]
patients = {r["patient_id"]: r["center"] for r in csv.DictReader(open(cohort + "/slides.csv"))}
f = h5py.File(out + "/attention/attention.h5", "r")
a, s = f["attention"][:], {k: v[:] for k, v in f["slides"].items()}
text = lambda v: [x.decode() for x in v]
ids, who, fold, part = (text(s[k]) for k in ("slide_id", "patient_id", "fold", "part"))
assert a.dtype == np.float32 and f.attrs["model"] == b"abmil" and f.attrs["endpoint"] == b"rfs"
assert f.attrs["lock"].decode() == hashlib.sha256(open(out + "/lock.json", "rb").read()).hexdigest()
assert (s["first"] == np.cumsum(s["count"]) - s["count"]).all() and s["count"].sum() == len(a)
rows = {i: slice(int(b), int(b + n)) for i, b, n in zip(ids, s["first"], s["count"])}
share = {}
for i, p in zip(ids, who):
    share[p] = share.get(p, 0) + np.nansum(a[rows[i]].astype(float))
assert all(abs(v - 1) < 1e-5 for v in share.values() if v), share
assert all(c == patients[p] for p, c in zip(who, fold) if share[p]), "scored by its own center's fold"
assert all(c == "" for p, c in zip(who, fold) if not share[p])
stored = {}
for name in parts:
    with h5py.File(name, "r") as h:
        for i, b, n in zip(text(h["slides/slide_id"][:]), h["slides/first"][:], h["slides/count"][:]):
            k = ids.index(i)
            assert part[k] == name.split("/")[-1] and s["row"][k] == b and s["count"][k] == n, i
            stored[i] = h["features"][b:b + n], h["coords"][b:b + n]
            repeats = np.unique(stored[i][0], axis=0, return_index=True)[1]
            used = np.isin(np.arange(n), repeats) & ~np.isnan(stored[i][0][:, 0])
            assert (used == ~np.isnan(a[rows[i]])).all() or not share[who[k]], (i, used, a[rows[i]])
assert not parts or ids == list(stored)
best = {}
for r in csv.DictReader(open(out + "/attention/top_tiles.csv")):
    best.setdefault(r["patient_id"], r)
assert len(best) == sum(v > 0 for v in share.values()) > 20
for p, r in best.items() if f.attrs["seeds"] == 1 else ():
    own = a[rows[r["slide_id"]]]
    k = int(np.nanargmax(own))
    assert abs(own[k] - float(r["attention"])) < 1e-5, (p, own[k], r)
    assert (list(stored[r["slide_id"]][1][k]) == [float(r["x"]), float(r["y"])]) if parts else k == int(r["tile"]), r
print(*[i for i, p in zip(ids, who) if not share[p]])
P
}

"$LOBULE" demo --bags --patients 60 --centers 3 --tiles 20 "$work/demo" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
sed -i 's/^model: .*/model: {kind: abmil, epochs: 4, benefit: false}/; s/seeds: 5/seeds: 1/; /^output:/d' "$work/demo/study.yaml"
cp -r "$work/demo" "$work/parts"

validate 1 one; expect "one rank" 0 $?
expect "read by h5py, every slide attended" "" "$(judge demo one 2>&1)"
validate 2 two; expect "two ranks" 0 $?
expect "two ranks: the same file" "$(sum one)" "$(sum two)"
validate 2 group demo --groups 1; expect "two ranks share the patients out" 0 $?
expect "two ranks share the patients out: every slide attended" "" "$(judge demo group 2>&1)"
echo "site: {memory_gib: $(awk 'BEGIN { printf "%.9f", 0.7 * 60 * 20 * 48 * 2 / 1073741824 }')}" >>"$work/demo/study.yaml"
LOB_TEST_NODE_RANKS=1 validate 2 spread; expect "two nodes hold the tiles together" 0 $?
expect "two nodes hold the tiles together: every slide attended" "" "$(judge demo spread 2>&1)"
sed -i '/^site:/d' "$work/demo/study.yaml"

# What was kept beside the models makes the file again; what is missing or short is trained again.
before=$(sum one)
rm "$work/one/attention/attention.h5"
validate 1 one; expect "the file alone is gone" 0 $?
expect "nothing is trained" "0 of 6" "$(trained)"
expect "the same file from what was kept" "$before" "$(sum one)"
rm "$work/one/attention/attention.h5"
truncate -s -4 "$(train one | head -1)"
validate 2 one; expect "one model's is short" 0 $?
expect "that model is trained again" "1 of 6" "$(trained)"
expect "the same file from a model trained again" "$before" "$(sum one)"
rm "$work/one/attention/attention.h5"
short=$(train one | tail -1)
printf 'xx' | dd of="$short" bs=1 seek=$(($(stat -c %s "$short") - 40)) conv=notrunc 2>/dev/null
validate 1 one; expect "one model's is damaged" 1 $?
expect "and named" 1 "$(grep -c "$short.*damaged" "$work/said")"
expect "no file of it" "" "$(ls "$work/one/attention" | grep attention.h5)"

# Two parts, one tile unreadable, one that repeats another, one slide that the study does not know.
"$python" - "$work" <<'P'
import glob, h5py, os, sys
names = sorted(glob.glob(sys.argv[1] + "/parts/features/*.h5"))
with h5py.File(names[1], "r+") as f: f["features"][7] = f["features"][2]
for i, name in enumerate(names):
    folder = sys.argv[1] + "/parts/%d" % (1 + (i >= 30))
    os.makedirs(folder, exist_ok=True)
    os.rename(name, folder + "/" + os.path.basename(name))
P
for part in 1 2; do
  "$LOBULE" store import "$work/parts/$part" --to "$work/parts/part-000$part.h5" --slides "$work/parts/slides.csv" --mpp 0.5 >>"$work/log" 2>&1
  expect "import part $part" 0 $?
done
stranger=$(sed -n '$p' "$work/parts/slides.csv" | cut -d, -f1)
sed -i '$d' "$work/parts/slides.csv"
sed -i "/^$(sed -n '$p' "$work/demo/slides.csv" | cut -d, -f2),/d" "$work/parts/patients.csv"
sed -i 's/^features:.*/features: [part-0001.h5, part-0002.h5]/' "$work/parts/study.yaml"
"$python" - "$work/parts/part-0001.h5" <<'P'
import h5py, sys
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8): crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff
with h5py.File(sys.argv[1], "r+") as f:
    s, b, n = f["slides"], int(f["slides/first"][4]), int(f["slides/count"][4])
    f["features"][b + 3] = float("nan")
    s["unreadable"][4], s["crc32c"][4] = 1, crc32c(f["features"][b:b + n].tobytes())
P
validate 1 stored parts; expect "over a store" 0 $?
expect "in the store's order, the stranger without any" "$stranger" \
  "$(judge parts stored "$work/parts/part-0001.h5" "$work/parts/part-0002.h5" 2>&1)"
sed -i 's/seeds: 1/seeds: 2/' "$work/parts/study.yaml"
validate 1 seeds parts; expect "two seeds" 0 $?
expect "two seeds: shares of one" "$stranger" "$(judge parts seeds "$work/parts/part-0001.h5" "$work/parts/part-0002.h5" 2>&1)"
validate 2 seeds-2 parts; expect "two seeds on two ranks" 0 $?
expect "two seeds on two ranks: the same file" "$(sum seeds)" "$(sum seeds-2)"

# Switched off, and where there is none to keep.
echo "report: {attention: false}" >>"$work/demo/study.yaml"
validate 1 off; expect "switched off" 0 $?
expect "switched off: no file" "0 0" "$(ls "$work/off/attention" | grep -c h5) $(ls "$work/off/train" | grep -c attention)"
sed -i 's/kind: abmil/kind: mean/; s/^report: .*/report: {attention: true}/' "$work/demo/study.yaml"
validate 1 mean; expect "asked of a model without" 2 $?
expect "and told" 1 "$(grep -c 'report.attention: a model of kind mean has no attention' "$work/said")"
sed -i '/^report:/d' "$work/demo/study.yaml"
validate 1 mean; expect "not asked of a model without" 0 $?
expect "a model without: no file" 0 "$(ls "$work/mean/attention" | grep -c h5)"
finish "$work/log"
