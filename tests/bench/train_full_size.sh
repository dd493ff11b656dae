#!/bin/bash
# Validation at the trial's size: 10,000 patients x 200 tiles x 384, left out center by center over 20 centers, one
# seed, three epochs, two ranks: time and memory, and what follows for 30 epochs, 5 seeds, 8,000 tiles x 1,024 on 32
# nodes: the speed measured here, seated as `lobule simulate --capacity` says the program would sit there.
# About 15 minutes and 4 GB of disk on two cores; a first argument of 10 runs a tenth of the patients.
# LOBULE=path/to/lobule tests/bench/train_full_size.sh [DIVISOR]    NODES=32 CORES=128 NODE_GIB=256 (of a node)
set -eu
: "${LOBULE:?path of the program}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 \
  OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_rmaps_base_oversubscribe=1
divisor=${1:-1}
patients=$((10000 / divisor))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
study=$work/demo/study.yaml
mpirun -n 2 "$LOBULE" demo --bags --patients $patients --centers 20 --tiles 200 --dim 384 "$work/demo" 2>"$work/log" ||
  { tail -20 "$work/log"; exit 1; }
becomes() { # EXPRESSION TEXT: the study must say so afterwards
  sed -i "$1" "$study"
  grep -q "$2" "$study" || { echo "train_full_size: '$1' changed nothing in the study: $(cat "$study")" >&2; exit 1; }
}
becomes 's/^model: .*/model: {kind: abmil, epochs: 3, benefit: false}/' '^model: {kind: abmil, epochs: 3, benefit: false}$'
becomes 's/^validation: .*/validation: {scheme: loco, seeds: 1, bootstrap: 200}/' '^validation: {scheme: loco, seeds: 1, bootstrap: 200}$'
uptime
"${PYTHON:-/usr/bin/python3}" - "$LOBULE" "$work" "$patients" "${NODES:-32}" "${CORES:-128}" "${NODE_GIB:-256}" <<'PY'
import csv, json, resource, subprocess, sys, time
program, work, patients = sys.argv[1], sys.argv[2], int(sys.argv[3])
nodes, cores, gib = sys.argv[4:]
start, user = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
subprocess.run(["mpirun", "-n", "2", program, "validate", f"{work}/demo/study.yaml"], check=True,
               stderr=open(f"{work}/validate.log", "w"))
wall, used = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = used.ru_utime + used.ru_stime - user.ru_utime - user.ru_stime
features = patients * 200 * 384 * 2
rows = list(csv.DictReader(open(f"{work}/demo/out/training.csv")))
print(json.dumps({"bench": "full-size", "patients": patients, "tiles": 200, "dim": 384, "centers": 20, "ranks": 2,
                  "models": len(rows), "wall_s": round(wall, 1), "cpu_s": round(cpu, 1),
                  "peak_rank_MB": round(used.ru_maxrss / 1e3), "features_MB": round(features / 1e6)}))

def work_of(dim, hidden, attention):  # operations of a tile, forward and back
    return 4 * dim * hidden + 12 * hidden * attention

folds, rounds = 20, 5
passes = rounds * (1 - 1 / rounds) + 1          # rounds that find how long to train, then training on all
share = (folds - 1) / folds                     # of the patients train
done = folds * passes * share * 3 * patients * 200 * work_of(384, 32, 16)
rate = done / cpu
print(f"arithmetic of training over the processor time of the whole job: {rate / 1e9:.2f} GFLOP/s a core "
      f"(judging, scoring, tables, start and waiting included)")

def plan(gib, *more):
    said = subprocess.run([program, "simulate", "--capacity", "--json", "--slides", "100", "--nodes", nodes, "--cores", cores,
                           "--node-gib", str(gib), "--patients", "10000", "--folds", "20", "--train-seeds", "5", "--epochs", "30",
                           "--train-dim", "1024", "--train-tiles", "8000", "--train-gflops", str(rate / 1e9), *more],
                          check=True, capture_output=True, text=True).stdout
    r = next(r for r in map(json.loads, said.splitlines()) if r["capacity"] == "validation")
    where = f"{nodes} nodes of {cores} cores and {gib} GiB{', site.groups as said' if more else ''}"
    if r["problem"]:
        print(f"{where}: {r['problem']}")
        return
    print(f"{where}: features {r['features_gib']:.0f} GiB ({r['node_gib_for_features']:.0f} a node for them); {r['groups']} groups of up to "
          f"{r['ranks_a_group']} ranks, {r['models']} models in {r['bundles']} bundles, {r['busy_groups']} groups with work, "
          f"{r['turns']} turn(s); a group is {r['group_speedup']:.1f} times as fast as a rank, so {r['useful_cores']:.0f} of {r['ranks']} "
          f"cores are of use: {r['core_hours']:.0f} core-hours, {r['hours']:.1f} h")

print("30 epochs, 5 seeds, 8,000 tiles x 1,024 of 10,000 patients in 20 centers:")
plan(gib)
plan(float(gib) / 4)
plan(gib, "--groups", "100")
print("assumptions: gated attention 32/16; model.max_tiles 4096, the default, of each bag an epoch; five rounds and a final "
      "training a model; the rate above, measured at 384 columns, holds at 1,024 (wider products are faster) and on a node "
      "whose cores are all busy; a step of a group ends with the rank that holds most of its 16 patients (drawn); "
      "bags of like size; gradients of 34,000 weights summed every step are not counted")
PY
uptime
