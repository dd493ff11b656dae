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
mpirun --oversubscribe -n 8 "$lobule" bench schedule --seconds 0.5 --dir "$work" >"$work/farm.json" 2>"$work/farm.txt"
python3 - "$work/farm.json" "$work/farm.txt" <<'PY'
import json, re, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
fast, paced = (next(r for r in rows if word in r["case"]) for word in ("as fast as they can", "with a journal"))
shares = [float(x) for x in re.findall(r"took ([0-9.]+) % of the time", open(sys.argv[2]).read())]
print(f"8 ranks: {fast['rate']:.0f} requests/s, {fast['ratio']:.1f} times what 10,000 ranks ask; journal {shares[1]} % busy")
sys.exit(not (fast["rate"] > paced["rate"] > 0 and fast["ratio"] > 2 and shares[0] == 0 and shares[1] < 20))
PY
[ -z "$(find "$work" -name 'lobule-bench*')" ] || { echo "the bench leaves files behind"; exit 1; }
echo "passed"
