#!/bin/bash
# The bars of scheduling, at full size (minutes): 30,000 heavy-tailed slides on 1,000 and 10,000 ranks, and what
# failures every 12 hours and slices of 24 hours cost.
set -euo pipefail
lobule=${LOBULE:-lobule}
"$lobule" simulate --ranks 1000,10000 --static --json "$@" | tee /dev/stderr >"${TMPDIR:-/tmp}/bars.$$"
"$lobule" simulate --ranks 1000 --mtbf-hours 12 --walltime 24 --json "$@" | tee /dev/stderr >>"${TMPDIR:-/tmp}/bars.$$"
python3 - "${TMPDIR:-/tmp}/bars.$$" <<'PY'
import json, sys
some, many, failing = (json.loads(line) for line in open(sys.argv[1]))
bars = {
    "efficiency at 1,000 ranks >= 0.97": some["efficiency"] >= 0.97,
    "efficiency at 10,000 ranks >= 0.93": many["efficiency"] >= 0.93,
    "rank 0 below 5 % busy at 10,000 ranks": many["coordinator_busy"] < 0.05,
    "the journal's syncs below 20 % of the time at 10,000 ranks": many["journal_busy"] < 0.20,
    "work lost below 2 %": failing["failures"] > 0 and failing["lost_share"] < 0.02,
}
for name, met in bars.items():
    print("met   " if met else "MISSED", name)
sys.exit(not all(bars.values()))
PY
