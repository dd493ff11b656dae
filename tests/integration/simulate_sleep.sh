#!/bin/bash
# The simulation against real ranks under MPI that sleep instead of computing, up to 64 on whatever cores there
# are, without and with a journal that takes 20 ms a sync and ranges that take 50 ms to write. LOB_SLEEP_RANKS names
# other numbers of ranks; a j behind one gives it the journal.
set -euo pipefail
lobule=${LOBULE:?the lobule binary}
program=${LOB_BINARY_DIR:?the build folder}/tests/simulate_sleep
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 77; }
[ -x "$program" ] || { echo "skipped: $program is not built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

for run in ${LOB_SLEEP_RANKS:-1 2 8 8j 64}; do
    ranks=${run%j} write=0 sync=0
    [ "$run" = "$ranks" ] || { write=0.05 sync=0.02; }
    slides=$((ranks * 2)) median=300 sigma=0.8 tile=0.01 range=0.5
    mpirun --oversubscribe -n "$ranks" "$program" $slides $median $sigma $tile $range $write $sync >"$work/real.json"
    "$lobule" simulate --ranks "$ranks" --slides $slides --tiles-median $median --tiles-sigma $sigma \
        --seconds-per-tile $tile --range-seconds $range --spread 0 --open-seconds 0 --write-seconds $write \
        --sync-seconds $sync --serve-seconds 0.05 --json 2>/dev/null >"$work/simulated.json"
    python3 - "$run" "$work/real.json" "$work/simulated.json" <<'PY'
import json, sys
real, simulated = (json.load(open(p)) for p in sys.argv[2:])
ratio = simulated["makespan"] / real["makespan"]
journal = sys.argv[1].endswith("j")
print(f"{sys.argv[1]} ranks: measured {real['makespan']:.2f} s, simulated {simulated['makespan']:.2f} s, "
      f"ratio {ratio:.3f}; ranges {real['ranges']} and {simulated['ranges']}, syncs {real['syncs']}, "
      f"journal {100 * simulated['journal_busy']:.1f} % busy")
# Rounds keep their distance whatever a sync costs (real ranks also sync once a second, and learn its cost).
paced = (real["syncs"] > 0) == journal and real["syncs"] * 0.02 < 0.2 * real["makespan"]
sys.exit(not (0.9 <= ratio <= 1.1 and paced))
PY
done
# Rank 0 answers real messages, and its journal's syncs keep within their share however often it is asked.
mpirun --oversubscribe -n 8 "$lobule" bench schedule --seconds 1 --repeats 2 --dir "$work" >"$work/farm.json" 2>"$work/farm.txt"
python3 - "$work/farm.json" <<'PY'
import json, sys
table, fast, recorded, vit, texture = map(json.loads, open(sys.argv[1]))
for r in (fast, recorded, vit, texture):
    assert r["bench"] == "schedule" and r["workers"] == 7 and r["repeats"] == 2 and r["lower"] is None, r
    assert 0 < r["latency_p50_ms"] <= r["latency_p99_ms"] <= r["latency_max_ms"] and r["coordinator_cpu"] > 0, r
    print(f"{r['case']}: {r['rate']:.0f} requests/s, {r['ratio']:.2f} times {r['ceiling_name']}; journal "
          f"{100 * r['journal_busy']:.1f} % busy, rank 0 {100 * r['coordinator_cpu']:.1f} %")
assert fast["rate"] > vit["rate"] > 0 and fast["ratio"] > 2
assert fast["journal_busy"] == 0 == fast["journal_syncs"]
assert 0 < texture["journal_busy"] < 0.2 and 0 < vit["journal_busy"] < 0.3 and 0 < recorded["journal_busy"] < 0.3
assert fast["tiles_a_range"] == 16 == vit["tiles_a_range"] and texture["tiles_a_range"] > 160  # ranges adapt
assert texture["rate"] < 0.2 * fast["rate"]
PY
[ -z "$(find "$work" -name 'lobule-bench*')" ] || { echo "the bench leaves files behind"; exit 1; }
echo "passed"
