#!/bin/bash
# The bars of scheduling at full size: 30,000 heavy-tailed slides on 1,000 and 10,000 ranks; what failures every 12
# hours and slices of 24 hours cost at both; slow nodes and a shared file system over SEEDS seeds, with an interval; an
# encoder whose tiles take 20 ms at 10,000 ranks. About half an hour of processor time, on JOBS cores side by side.
# LOBULE=path/to/lobule SEEDS=10 JOBS=2 tests/bench/simulate_bars.sh [OPTIONS OF simulate]; prints its JSON lines on stderr
set -euo pipefail
lobule=${LOBULE:-lobule}
seeds=${SEEDS:-10} jobs=${JOBS:-$(nproc)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sweep() { # NAME OPTIONS...: a line for each seed in NAME, which is there only when all are
  local name=$1
  shift
  seq "$seeds" | xargs -P "$jobs" -I{} sh -c '"$@" >"$0"' "$work/$name.{}" "$lobule" simulate --json --seed {} "$@" 2>/dev/null
  cat "$work/$name".* | tee -a /dev/stderr >"$work/$name"
}
"$lobule" simulate --ranks 1000,10000 --static --json "$@" | tee -a /dev/stderr >"$work/plain"
"$lobule" simulate --ranks 10000 --seconds-per-tile 0.02 --json "$@" | tee -a /dev/stderr >"$work/texture"
sweep few --ranks 1000 --mtbf-hours 12 --walltime 24 "$@"
sweep many --ranks 10000 --mtbf-hours 12 --walltime 24 "$@"
# One node in fifty is half as fast; the file system has five times the mean need of 10,000 ranks.
sweep rough --ranks 10000 --straggler-share 0.02 --straggler-factor 2 --fs-bandwidth 0.75 "$@"
python3 - "$work" <<'PY'
import json, math, statistics, sys
def lines(name):
    return [json.loads(line) for line in open(f"{sys.argv[1]}/{name}")]
def interval(rows, key):  # of the mean, 95 %, Student's t
    values = [r[key] for r in rows]
    n = len(values)
    t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}.get(n, 2.23)
    half = t * statistics.stdev(values) / math.sqrt(n) if n > 1 else math.inf
    return statistics.mean(values), statistics.mean(values) - half, statistics.mean(values) + half
some, many = lines("plain")
texture, = lines("texture")
bars = {
    f"efficiency {some['efficiency']:.4f} at 1,000 ranks >= 0.97": some["efficiency"] >= 0.97,
    f"efficiency {many['efficiency']:.4f} at 10,000 ranks >= 0.93": many["efficiency"] >= 0.93,
    f"rank 0 {100 * many['coordinator_busy']:.2f} % busy at 10,000 ranks, below 5 %": many["coordinator_busy"] < 0.05,
    f"the journal's syncs {100 * many['journal_busy']:.1f} % of the time at 10,000 ranks, below 20 %": many["journal_busy"] < 0.20,
    f"texture at 10,000 ranks: rank 0 {100 * texture['coordinator_busy']:.2f} %, below 20 %": texture["coordinator_busy"] < 0.20,
    f"texture at 10,000 ranks: journal {100 * texture['journal_busy']:.1f} %, below 20 %": texture["journal_busy"] < 0.20,
}
for name, ranks in ("few", "1,000"), ("many", "10,000"):
    rows = lines(name)
    mean, low, high = interval(rows, "lost_share")
    failures = sum(r["failures"] for r in rows)
    worst = max(r["lost_share"] for r in rows)
    bars[f"work lost at {ranks} ranks {100 * mean:.3f} % [{100 * low:.3f}, {100 * high:.3f}] of {len(rows)} seeds with {failures} failures "
         f"(worst {100 * worst:.3f} %), below 2 %"] = failures > 0 and high < 0.02 and worst < 0.02
    mean, low, high = interval(rows, "lost_to_failures")
    print(f"       failures cost {100 * mean:.2f} % [{100 * low:.2f}, {100 * high:.2f}] of all rank-hours at {ranks} ranks, restarts included")
mean, low, high = interval(lines("rough"), "efficiency")
bars[f"efficiency {mean:.4f} [{low:.4f}, {high:.4f}] at 10,000 ranks with slow nodes and 0.75 GB/s, >= 0.93"] = low >= 0.93
for name, met in bars.items():
    print("met   " if met else "MISSED", name)
sys.exit(not all(bars.values()))
PY
