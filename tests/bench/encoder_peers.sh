#!/bin/bash
# The encoders beside their ceilings and their peers, all on the same cores, one after the other: two ranks of
# `lobule bench encoder` against the bare products of the same library, against ONNX Runtime and PyTorch with two
# threads each. The machine must be idle; about nine minutes on two cores.
#
#   encoder_peers.sh LOBULE [--quick]        --quick: a small network, to see that everything runs
#
# Bars (ViT-L/16, 224 px): fp32 at least .90 of its ceiling and 1.3 times ONNX Runtime, bf16 at least .85 of its
# ceiling and 1.15 times PyTorch's autocast. Exits 1 where one is missed or a run of ours failed, else 77 where a peer
# that a bar needs could not be measured, else 0. On a CPU without AVX512-BF16 or AMX bf16 is not measured, which is said.
# PyTorch is Debian's python3-torch; onnxruntime-node is installed by npm into a temporary folder, or taken from
# NODE_PATH where that has it. JSON lines go to RESULTS (default: encoder_peers.jsonl here).
set -eu
LOBULE=$(realpath "$1"); quick=${2:-}
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../.." && pwd)
results=${RESULTS:-encoder_peers.jsonl}
python=/usr/bin/python3 ranks=2 failed=0 missing=0
. "$root/jobs/launch.sh"
export LOB_CONFIGS=$root/configs OMP_WAIT_POLICY=passive
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: >"$results"

ours() { # PRESET PRECISION BATCH REPEATS
  echo "lobule: $1 $2" >&2
  launch $ranks "$LOBULE" bench encoder "$1" --precision "$2" --batch "$3" --repeats "$4" --seconds 1 --ranks $ranks \
    >>"$results" || { echo "lobule: $1 $2 FAILED" >&2; failed=1; }
}
absent() { echo "left out: $*" >&2; missing=1; }
torch() { # PRESET BATCH REPEATS [--bf16]
  $python -c 'import torch' 2>/dev/null || { absent "PyTorch, $python has no torch"; return; }
  echo "PyTorch: $1 ${4:-}" >&2
  $python "$here/encoder_torch.py" --batch "$2" --threads $ranks --repeats "$3" ${4:-} "$root/configs/encoders/$1.yaml" \
    >>"$results" || absent "PyTorch failed"
}
onnx() { # PRESET BATCH REPEATS
  if ! node -e 'require("onnxruntime-node")' 2>/dev/null; then
    # its install script would fetch libraries for other hardware
    npm install --prefix "$work/npm" --no-fund --no-audit --ignore-scripts onnxruntime-node >"$work/npm.log" 2>&1 ||
      { absent "ONNX Runtime, onnxruntime-node cannot be installed: $(tail -1 "$work/npm.log" 2>/dev/null)"; return; }
    export NODE_PATH=$work/npm/node_modules
  fi
  echo "ONNX Runtime: $1" >&2
  $python "$here/encoder_onnx.py" "$work/onnx" "$root/configs/encoders/$1.yaml" --batch "$2" &&
    node "$here/encoder_onnx.js" "$work/onnx" "$2" 224 $ranks "$3" "$1" >>"$results" ||
    absent "ONNX Runtime failed"
  rm -rf "$work/onnx"
}

bf16=yes
grep -qE '^flags.*(avx512_bf16|amx_bf16)' /proc/cpuinfo || bf16=no
brain() { [ $bf16 = no ] || "$@"; }

if [ "$quick" = --quick ]; then
  ours kaiko-s16 fp32 2 1
  onnx kaiko-s16 2 1
  torch kaiko-s16 2 1
  brain ours kaiko-s16 bf16 2 1
  brain torch kaiko-s16 2 1 --bf16
else
  ours uni fp32 8 6
  onnx uni 8 4
  torch uni 8 3
  brain ours uni bf16 8 6
  brain torch uni 8 3 --bf16
  ours kaiko-b16 fp32 8 6
  brain ours kaiko-b16 bf16 8 6
  brain ours virchow bf16 4 3
  ours virchow fp32 4 2
  brain ours h-optimus-0 bf16 4 2
  ours h-optimus-0 fp32 4 2
fi
[ $bf16 = yes ] || echo "bf16 is not measured: this CPU has neither AVX512-BF16 nor AMX"

code=0
python3 - "$results" <<'P' || code=1
import json
import sys

NETWORKS = {"uni": "ViT-L/16", "kaiko-b16": "ViT-B/16", "kaiko-s16": "ViT-S/16", "virchow": "ViT-H/14",
            "h-optimus-0": "ViT-g/14"}
CEILING, PEER = {"fp32": 0.90, "bf16": 0.85}, {("fp32", "onnxruntime-node"): 1.3, ("bf16", "torch"): 1.15}
lines = [json.loads(line) for line in open(sys.argv[1])]
ours = [line for line in lines if "peer" not in line]
missed = False


def verdict(preset, value, bar):
    global missed
    if preset != "uni" or bar is None:
        return ""
    missed = missed or value < bar
    return f"  {'met' if value >= bar else 'MISSED'} (bar {bar})"


for line in ours:
    preset, precision = line["case"].split()
    bounds = f"n={line['repeats']}" if line["lower"] is None else f"{line['lower']:.3f}, {line['upper']:.3f}"
    print(f"{NETWORKS[preset]} {precision}, {line['ranks']} ranks, batch {line['batch']}: {line['rate']:.3f} tiles/s "
          f"[{bounds}], {line['gflops']:.0f} GFLOP/s, {100 * line['cpu_share']:.0f} % of "
          "its cores")
    print(f"    of the bare products' {line['ceiling']:.3f}: {line['ratio']:.3f}"
          + verdict(preset, line["ratio"], CEILING[precision]))
    for peer in lines:
        if "peer" in peer and (peer["case"], peer["precision"]) == (preset, precision):
            ratio = line["rate"] / peer["rate"]
            print(f"    times {peer['peer']} with {peer['threads']} threads ({peer['rate']:.3f}): {ratio:.2f}"
                  + verdict(preset, ratio, PEER.get((precision, peer["peer"].split()[0]))))
sys.exit(1 if missed or not ours else 0)
P
[ $failed = 0 ] && [ $code = 0 ] || exit 1
[ $missing = 0 ] || { echo "not every peer was measured, see above"; exit 77; }
