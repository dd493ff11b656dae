#!/bin/bash
# The bars of rank 0, on a machine with nothing else to do (a few minutes): 64 ranks, oversubscribed, that ask the real
# coordinator over MPI in the place of 10,000; and the simulation with all 10,000 virtual ranks, whose scheduler is the
# same code. LOBULE=path/to/lobule tests/bench/schedule_bars.sh [DIR]    DIR: where the journal is written (its file
# system's fsync counts)
set -euo pipefail
: "${LOBULE:?path of the program}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 \
  OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_rmaps_base_oversubscribe=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uptime
mpirun --oversubscribe -n "${RANKS:-64}" "$LOBULE" bench schedule --seconds "${SECONDS_EACH:-12}" --dir "${1:-$work}" >"$work/real.jsonl"
"$LOBULE" simulate --ranks 10000 --seconds-per-tile 0.005 --json 2>/dev/null >"$work/texture.json"
uptime
python3 - "$work" <<'PY'
import json, sys
_, fast, recorded, vit, texture = (json.loads(line) for line in open(sys.argv[1] + "/real.jsonl"))
print("real ranks:")
for r in (fast, recorded, vit, texture):
    print(f"  {r['case']}: {r['rate']:.0f} requests/s [{r['lower']:.0f}, {r['upper']:.0f}], {r['ratio']:.1f} times "
          f"{r['ceiling_name']}; {r['tiles_a_range']:.0f} tiles a range; answers after {r['latency_p50_ms']:.2f} ms, 99 % "
          f"{r['latency_p99_ms']:.2f}, most {r['latency_max_ms']:.2f}; rank 0 {100 * r['coordinator_cpu']:.1f} % of a core, "
          f"journal {100 * r['journal_busy']:.1f} % of the time")
simulated = json.load(open(sys.argv[1] + "/texture.json"))
print(f"simulated, 10,000 ranks with texture: rank 0 {100 * simulated['coordinator_busy']:.2f} % busy, journal "
      f"{100 * simulated['journal_busy']:.2f} %")
bars = {
    "real: 100 times what 10,000 ranks with a ViT-L ask": fast["ratio"] >= 100,
    "real: with texture ranges are longer than one batch": texture["tiles_a_range"] > 160,
    "real: with texture rank 0 below 20 % of a core": texture["coordinator_cpu"] < 0.2,
    "real: with texture the journal's syncs below 20 % of the time": texture["journal_busy"] < 0.2,
    "simulated: with texture rank 0 below 20 % busy": simulated["coordinator_busy"] < 0.2,
    "simulated: with texture the journal's syncs below 20 %": simulated["journal_busy"] < 0.2,
}
for name, met in bars.items():
    print("met   " if met else "MISSED", name)
sys.exit(not all(bars.values()))
PY
