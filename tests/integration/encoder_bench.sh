#!/bin/bash
# lobule bench encoder: every kind of network with random weights tells rate, products, stages and memory.
set -u
failed=0
expect() { [ "$2" = "$3" ] || { echo "$1: expected $2, found $3" >&2; failed=1; }; }
export LOB_CONFIGS=$LOB_SOURCE/configs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# GFLOP a tile: published multiply-adds of ViT-S/16 (less what its last layer does for other tokens than the class
# token), ResNet-50 without its fourth stage, Swin-T with this stem.
while read -r name gflop stages; do
  timeout 100 "$LOBULE" bench encoder "$name" --seconds 0 --repeats 1 --batch 1 >"$work/line" 2>"$work/log"
  expect "$name" 0 $?
  expect "$name: JSON" yes "$(python3 - "$work/line" "$gflop" "$stages" <<'P'
import json
import sys

line, gflop, stages = json.load(open(sys.argv[1])), float(sys.argv[2]), int(sys.argv[3])
shares = line["time_by_stage"]
wrong = [what for what, right in {
    "rate": line["rate"] > 0, "ratio": 0 < line["ratio"] < 2, "gflops": line["gflops"] > 0,
    "gflop_a_tile": abs(line["gflop_a_tile"] - gflop) < .02 * gflop,
    "time_by_stage": len(shares) == stages and abs(sum(shares.values()) - 1) < 1e-3 and min(shares.values()) > 0,
    "working_mib": line["working_mib"] > 1, "weights_mib": line["weights_mib"] > 10}.items() if not right]
print(" ".join(wrong) or "yes")
P
)"
done <<<"kaiko-s16 8.62 8
resnet50 6.56 4
ctranspath 9.0 4"
exit $failed
