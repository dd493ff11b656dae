#!/bin/bash
# Validation at the trial's size: 10,000 patients x 200 tiles x 384, left out center by center over 20 centers, one
# seed, three epochs, two ranks: time and memory, and what follows for 30 epochs, 5 seeds, 8,000 tiles x 1,024 on 32
# nodes. About 15 minutes and 4 GB of disk on two cores; a first argument of 10 runs a tenth of the patients.
# LOBULE=path/to/lobule tests/bench/train_full_size.sh [DIVISOR]    CORES=128 (of a node, for the extrapolation)
set -eu
: "${LOBULE:?path of the program}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 \
  OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_rmaps_base_oversubscribe=1
divisor=${1:-1}
patients=$((10000 / divisor))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mpirun -n 2 "$LOBULE" demo --bags --patients $patients --centers 20 --tiles 200 --dim 384 "$work/demo" 2>"$work/log" ||
  { tail -20 "$work/log"; exit 1; }
sed -i 's/^model: .*/model: {kind: abmil, epochs: 3, benefit: false}/; s/seeds: 5/seeds: 1/; s/bootstrap: [0-9]*/bootstrap: 200/' \
  "$work/demo/study.yaml"
uptime
"${PYTHON:-/usr/bin/python3}" - "$LOBULE" "$work" "$patients" "${CORES:-128}" <<'PY'
import csv, json, resource, subprocess, sys, time
program, work, patients, cores = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
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
print(f"arithmetic of training over the processor time of the whole job: {rate / 1e9:.1f} GFLOP/s a core "
      f"(judging, scoring, tables, start and waiting included)")
nodes, seeds, epochs, batch = 32, 5, 30, 16
for tiles, note in ((4096, "model.max_tiles 4096, the default, of each bag's 8,000 an epoch"), (8000, "all tiles")):
    need = folds * seeds * passes * share * epochs * 10000 * tiles * work_of(1024, 32, 16)
    useful = min(nodes * cores, folds * seeds * batch)
    print(f"30 epochs, 5 seeds, {tiles} tiles x 1,024 ({note}), 10,000 patients, 20 centers: {need / rate / 3600:.0f} "
          f"core-hours; {need / rate / 3600 / useful:.1f} h on {nodes} nodes of {cores} cores ({useful} of "
          f"{nodes * cores} cores have work)")
memory = 10000 * 8000 * 1024 * 2
print(f"features of that cohort: {memory / 2**30:.0f} GiB float16; over a set of {nodes} nodes {memory / nodes / 2**30:.1f} GiB each")
print("assumptions: gated attention 32/16; five rounds and a final training a model; the rate above, measured at 384 "
      "columns, holds at 1,024 (wider products are faster); ranks of a group work on the 16 patients of a mini-batch at "
      "once, so models x 16 cores have work; bags of like size; gradients of 34,000 weights summed every step are not counted")
PY
uptime
