#!/bin/bash
# How long a job takes to stop while a ViT-H computes batches of minutes: USR1 to mpirun in mid-batch, at seeded moments.
# usage: stop_vith.sh [STOPS [RANKS [PRESET [BATCH]]]]   default 3 2 virchow 16   environment: LOBULE, LOB_SOURCE, LOB_BINARY_DIR
# Needs torch for the weights (random, 2.5 GB for virchow). Prints one JSON line; fails where a stop took 20 s or did not end with 75.
. "$(dirname "$0")/../integration/cohort_lib.bash"
stops=${1:-3} ranks=${2:-2} preset=${3:-virchow} batch=${4:-16}
python=${PYTHON:-/usr/bin/python3}
$python -c 'import torch' 2>/dev/null || { echo "skipped: $python has no torch"; exit 77; }
$python "$LOB_SOURCE/tests/bench/random_weights.py" "$LOB_SOURCE/configs/encoders/$preset.yaml" "$work/weights.safetensors" || exit 1
"$LOBULE" demo "$work/cohort" --patients 6 --tiles 150 --centers 3 >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
sed "s|^encoder:.*||; s|^output:.*|encoder: {name: $preset, config: $LOB_SOURCE/configs/encoders/$preset.yaml, weights: $work/weights.safetensors, batch: $batch}\noutput: out|" "$work/cohort/study.yaml" >"$work/cohort/vit.yaml"
study=$work/cohort/vit.yaml out=$work/out
launch "$ranks" "$LOBULE" plan --output "$out" "$study" >>"$work/log" 2>&1; expect "plan" 0 $?
RANDOM=1
leases() { journal_of "$out" | grep -c '^lease'; }
worst=0 all=
for stop in $(seq "$stops"); do
  before=$(leases)
  launch "$ranks" "$LOBULE" embed --output "$out" "$study" >>"$work/log" 2>&1 &
  job=$!
  until mpirun=$(pgrep -P $job -x mpirun) || ! kill -0 $job 2>/dev/null; do sleep 0.02; done
  while kill -0 $job 2>/dev/null && [ "$(leases)" -le "$before" ]; do sleep 0.1; done
  sleep $((4 + RANDOM % 15))
  ranges_before=$(ranges "$out") start=${EPOCHREALTIME/./}
  kill -USR1 "$mpirun"
  wait $job; rc=$?
  ms=$(((${EPOCHREALTIME/./} - start) / 1000))
  expect "stop $stop: exit code" 75 $rc
  expect "stop $stop: ranges finished after the signal" "$ranges_before" "$(ranges "$out")"
  all="$all${all:+, }$(awk "BEGIN { print $ms / 1000 }")"
  [ $ms -le $worst ] || worst=$ms
done
expect "processes left behind" 0 "$(pgrep -f -c -- "--output $work" || true)"
printf '{"bench": "stop", "encoder": "%s", "batch": %d, "ranks": %d, "seconds": [%s], "worst": %s}\n' \
  "$preset" "$batch" "$ranks" "$all" "$(awk "BEGIN { print $worst / 1000 }")"
[ $worst -lt 20000 ] || fail "a stop took 20 s or more"
finish
