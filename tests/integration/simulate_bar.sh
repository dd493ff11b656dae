#!/bin/bash
# The bars of scheduling at a thirtieth of the trial's size: 1,000 heavy-tailed slides on 333 ranks, as much work a
# rank as 30,000 on 10,000; tests/bench/simulate_bars.sh has the full size.
set -euo pipefail
lobule=${LOBULE:?the lobule binary}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
thirtieth=(--slides 1000 --ranks 333 --record-seconds 1e-6 --json)
"$lobule" simulate "${thirtieth[@]}" --static >"$work/lines" 2>/dev/null
"$lobule" simulate "${thirtieth[@]}" --mtbf-hours 4 --walltime 8 >>"$work/lines" 2>/dev/null
"$lobule" simulate "${thirtieth[@]}" --seconds-per-tile 0.02 >>"$work/lines" 2>/dev/null
python3 - "$work/lines" <<'PY'
import json, sys
plain, failing, texture = (json.loads(line) for line in open(sys.argv[1]))
bars = {
    f"efficiency {plain['efficiency']:.4f} >= 0.97": plain["efficiency"] >= 0.97,
    f"slides dealt beforehand reach {plain['static_efficiency']:.3f}, less than ranges": plain["static_efficiency"] < plain["efficiency"] - 0.1,
    f"rank 0 {plain['coordinator_busy']:.5f} busy, below 0.05 / 30": plain["coordinator_busy"] < 0.05 / 30,
    f"the journal {plain['journal_busy']:.3f} busy, below 0.2": plain["journal_busy"] < 0.2,
    f"{failing['failures']} failures, lost {failing['lost_share']:.5f} below 0.02": failing["failures"] > 0 and failing["lost_share"] < 0.02,
    "what failures cost is more than the work lost": failing["lost_to_failures"] > failing["lost_share"],
    f"ranges of the texture encoder are longer: {texture['ranges']} of {plain['ranges']}": texture["ranges"] < plain["ranges"] / 10,
    f"texture: rank 0 {texture['coordinator_busy']:.5f}, journal {texture['journal_busy']:.3f} busy": texture["coordinator_busy"] < 0.2 / 30 and texture["journal_busy"] < 0.2,
}
for name, met in bars.items():
    print("met   " if met else "MISSED", name)
sys.exit(not all(bars.values()))
PY
