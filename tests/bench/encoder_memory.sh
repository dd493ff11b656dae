#!/bin/bash
# Memory of a node and time to the first tile of a real embed: random weights of a preset's true shapes from a file,
# the real slides, RANKS ranks. The sum of PSS (pages that processes share count once) over every process of the
# job, mpirun and readers included, is sampled from start to end.
#
#   encoder_memory.sh LOBULE [PRESET [PRECISION [RANKS [BATCH]]]]        default: uni fp32 2 16
#
# Bars: PSS at most the weights plus 350 MB a rank, and the first tile within 5 s of mpirun's start, files being
# warm. Exits 1 where one is missed. WEIGHTS=FILE takes a file instead of making one.
set -eu
LOBULE=$(realpath "$1"); preset=${2:-uni} precision=${3:-fp32} ranks=${4:-2} batch=${5:-16}
root=$(cd "$(dirname "$0")/../.." && pwd)
data=${LOB_SHARED:-$root/../shared}/data/slides
[ -d "$data" ] || { echo "skipped: the real slides are not there ($data; set LOB_SHARED)"; exit 77; }
python=/usr/bin/python3
. "$root/jobs/launch.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LOB_CONFIGS=$root/configs

weights=${WEIGHTS:-$work/weights.safetensors}
[ -n "${WEIGHTS:-}" ] || $python - "$root" "$preset" "$weights" <<'P'
import sys
sys.path.insert(0, sys.argv[1] + "/tests/oracles")
import torch
from vit_torch import invent, read_preset, write_safetensors
preset = read_preset(open(f"{sys.argv[1]}/configs/encoders/{sys.argv[2]}.yaml").read())
write_safetensors(sys.argv[3], invent(preset, torch.Generator().manual_seed(1), torch.float32))
P
cat >"$work/slides.csv" <<Y
slide_id,patient_id,center,path,mpp
cmu,p1,A,$(realpath "$data")/CMU-1-Small-Region.svs,
tcga,p2,B,$(realpath "$data")/TCGA-CR-7395-01A-01-TS1.svs,0.25
Y
printf 'patient_id,center,days,event\np1,A,100,1\np2,B,90,1\n' >"$work/patients.csv"
cat >"$work/study.yaml" <<Y
study: memory
cohort: {slides: slides.csv, patients: patients.csv}
tiles: {mpp: 1.0}
encoder: {name: $preset, weights: $weights, precision: $precision, batch: $batch}
endpoints:
  - {name: rfs, kind: survival, time: days, event: event}
output: out
Y
"$LOBULE" plan "$work/study.yaml" >"$work/plan.log" 2>&1 || { cat "$work/plan.log"; exit 1; }
cat "$weights" >/dev/null # warm
export -f launch

$python - "$LOBULE" "$work/study.yaml" "$ranks" "$weights" <<'P'
import os
import subprocess
import sys
import threading
import time

lobule, study, ranks, weights = sys.argv[1], sys.argv[2], int(sys.argv[3]), os.path.getsize(sys.argv[4])
first, cpu, lines = [], [], []


def parents():
    table = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            table[int(pid)] = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass  # it ended meanwhile
    return table


def job_processes(top):
    table, job = parents(), {top}
    while True:
        more = {p for p, parent in table.items() if parent in job} - job
        if not more:
            return job
        job |= more


def cpu_of(pid):
    try:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0


def job_pss(top):
    job, total = job_processes(top), 0
    for pid in job:
        try:
            for line in open(f"/proc/{pid}/smaps_rollup"):
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total, len(job)


start = time.monotonic()
job = subprocess.Popen(["bash", "-c", 'launch "$@"', "launch", str(ranks), lobule, "embed", "--verbose", study],
                       stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def listen():
    for line in job.stderr:
        lines.append(line)
        if "tiles encoded" in line:
            first.append(time.monotonic() - start)
            cpu.append(max(cpu_of(p) for p in job_processes(job.pid)))


thread = threading.Thread(target=listen)
thread.start()
most, most_at, processes = 0, 0, 0
while job.poll() is None:
    pss, n = job_pss(job.pid)
    if pss > most:
        most, most_at = pss, time.monotonic() - start
    processes = max(processes, n)
    time.sleep(0.1)
thread.join()
if job.returncode != 0 or not first:
    sys.exit("embed failed:\n" + "".join(lines))
bar = weights + ranks * 350e6
print(f"{ranks} ranks, {processes} processes: PSS at most {most / 1e6:.0f} MB ({most_at:.1f} s after the start), weights "
      f"{weights / 1e6:.0f} MB, {(most - weights) / ranks / 1e6:.0f} MB a rank beside them (bar 350)")
print("first tile of each rank after " + ", ".join(f"{t:.1f}" for t in sorted(first))
      + f" s (bar 5, the earliest counts); by then its busiest process had used {cpu[0]:.1f} s of processor time")
sys.exit(0 if most <= bar and first[0] <= 5 else 1)
P
