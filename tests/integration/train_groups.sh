#!/bin/bash
# Ranks that share the patients out train what one rank trains: within a node, across nodes that each hold a part
# (pretended here), with features streaming from a file. Too little memory is said, with what would do.
. "$(dirname "$0")/expect_lib.bash"
validate() { # RANKS OUTPUT [option ...]
  local ranks=$1 output=$2
  shift 2
  launch "$ranks" "$LOBULE" validate --output "$output" "$@" "$work/demo/study.yaml" >>"$work/log" 2>&1
}
# Whether two tables agree: words to the letter, numbers to 1e-5 of their size (or of 1).
close() {
  paste -d'\n' "$1" "$2" | awk -F, '
    NR % 2 { split($0, a, ","); n = NF; next }
    n != NF { bad = 1 }
    { for (i = 1; i <= NF; i++) if (a[i] != $i) {
        d = a[i] - $i; s = a[i] + 0
        if (d < 0) d = -d
        if (s < 0) s = -s
        if (s < 1) s = 1
        if (a[i] !~ /^-?[0-9]/ || d > 1e-5 * s) bad = 1 } }
    END { if (bad) print "differ"; else if (NR > 2) print "agree"; else print "empty" }'
}

"$LOBULE" demo --bags --patients 90 --centers 3 --tiles 24 "$work/demo" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
sed -i 's/^model: .*/model: {kind: abmil, epochs: 8, benefit: false}/; s/seeds: 5/seeds: 2/' "$work/demo/study.yaml"
cp "$work/demo/study.yaml" "$work/plain.yaml"
site() { { cat "$work/plain.yaml"; echo "site: {$1}"; } >"$work/demo/study.yaml"; }

validate 1 "$work/one"
expect "one rank, exit code" 0 $?
for setting in "2 1" "3 1" "3 2"; do
  ranks=${setting% *} groups=${setting#* }
  validate "$ranks" "$work/g$ranks-$groups" --groups "$groups"
  expect "$ranks ranks in $groups groups, exit code" 0 $?
  for table in predictions metrics attention/top_tiles attention/bottom_tiles; do
    expect "$ranks ranks in $groups groups: $table" agree "$(close "$work/one/$table.csv" "$work/g$ranks-$groups/$table.csv")"
  done
done
validate 2 "$work/many" --groups 3
expect "more groups than ranks is refused" 2 $?

# Stopped in the middle of training: all ranks of a group stop at the same patient, and the same predictions come later.
launch 2 bash -c 'echo $$ >"$0.$OMPI_COMM_WORLD_RANK"; exec "$@"' "$work/pid" "$LOBULE" validate --output "$work/middle" --groups 1 \
  "$work/demo/study.yaml" >>"$work/log" 2>&1 &
job=$!
until ls "$work"/middle/train/e*.bin >/dev/null 2>&1 || ! kill -0 $job 2>/dev/null; do sleep 0.02; done
kill -USR1 "$(cat "$work/pid.1")"
wait $job 2>/dev/null
expect "a rank of a group is told to stop, exit code" 75 $?
validate 2 "$work/middle" --groups 1
expect "stopped and run again, exit code" 0 $?
expect "stopped and run again: the same predictions" "$(sha256sum <"$work/g2-1/predictions.csv")" "$(sha256sum <"$work/middle/predictions.csv")"

# The cohort's features are a few hundred kB: with less than a node needs, two nodes hold it together.
gib=$(awk -v b=$((90 * 24 * 48 * 2)) 'BEGIN { printf "%.9f", 0.7 * b / 1073741824 }')
site "memory_gib: $gib"
validate 1 "$work/small"
expect "too little memory is refused" 2 $?
expect "and told what would do" 1 "$(grep -c '2 nodes would do, this job has 1' "$work/log")"
LOB_TEST_NODE_RANKS=1 validate 2 "$work/spread"
expect "two nodes hold it together, exit code" 0 $?
for table in predictions metrics attention/top_tiles; do
  expect "two nodes hold it together: $table" agree "$(close "$work/one/$table.csv" "$work/spread/$table.csv")"
done
mkdir "$work/scratch"
site "memory_gib: $gib, stream: $work/scratch"
validate 2 "$work/streamed"
expect "streaming, exit code" 0 $?
expect "streaming: the same predictions" "$(sha256sum <"$work/one/predictions.csv")" "$(sha256sum <"$work/streamed/predictions.csv")"
expect "streaming leaves nothing behind" "" "$(ls "$work/scratch")"

# The benefit stage takes sums over tiles from the ranks that hold them.
"$LOBULE" demo --bags --patients 300 --centers 3 --tiles 8 --dim 16 "$work/arms" >>"$work/log" 2>&1
sed -i 's/^model: .*/model: {kind: mean, epochs: 3, benefit: true}/; s/seeds: 5/seeds: 1/' "$work/arms/study.yaml"
cp "$work/arms/study.yaml" "$work/arms.yaml"
gib=$(awk -v b=$((300 * 8 * 16 * 2)) 'BEGIN { printf "%.9f", 0.7 * b / 1073741824 }')
judge() { # COMMAND RANKS OUTPUT [option ...]
  local ranks=$2 output=$3 command=$1
  shift 3
  launch "$ranks" timeout 120 "$LOBULE" "$command" --output "$output" "$@" "$work/arms/study.yaml" >>"$work/log" 2>&1
}
judge validate 1 "$work/judged"
expect "benefit, one rank, exit code" 0 $?
expect "benefit, one rank: there is something to compare" yes \
  "$(grep -q 'tace,pooled,interaction_per_sd,[-0-9]' "$work/judged/benefit_metrics.csv" && echo yes || echo no)"
judge validate 2 "$work/judged-2" --groups 1
expect "benefit, 2 ranks in 1 group, exit code" 0 $?
{ cat "$work/arms.yaml"; echo "site: {memory_gib: $gib}"; } >"$work/arms/study.yaml"
LOB_TEST_NODE_RANKS=1 judge validate 2 "$work/judged-spread"
expect "benefit, two nodes hold the tiles together, exit code" 0 $?
for table in benefit benefit_metrics; do
  expect "benefit, 2 ranks in 1 group: $table" agree "$(close "$work/judged/$table.csv" "$work/judged-2/$table.csv")"
  expect "benefit, two nodes: $table" agree "$(close "$work/judged/$table.csv" "$work/judged-spread/$table.csv")"
done
cp "$work/arms.yaml" "$work/arms/study.yaml"
judge validate 3 "$work/judged-3"
expect "benefit, 3 ranks share the draws, exit code" 0 $?
for table in benefit benefit_metrics benefit_draws; do
  expect "benefit, 3 ranks: $table to the last digit" "$(sha256sum <"$work/judged/$table.csv")" "$(sha256sum <"$work/judged-3/$table.csv")"
done
# Stopped in the middle of the benefit stage: said by the exit code, and done again to the same end.
launch 2 bash -c 'echo $$ >"$0.$OMPI_COMM_WORLD_RANK"; exec "$@"' "$work/pid" "$LOBULE" validate --output "$work/stopped" \
  "$work/arms/study.yaml" >"$work/stopping" 2>&1 &
job=$!
until grep -q 'benefit, tace' "$work/stopping" || ! kill -0 $job 2>/dev/null; do sleep 0.02; done
kill -USR1 $(cat "$work/pid".[01])
wait $job 2>/dev/null
expect "benefit, stopped by USR1: no verdict yet" no "$([ -e "$work/stopped/verdict.json" ] && echo yes || echo no)"
expect "benefit, stopped by USR1: it is said" 1 "$(grep -ci 'stopped' "$work/stopping" | awk '{print ($1 > 0)}')"
judge validate 2 "$work/stopped"
expect "benefit, stopped and run again" "$(sha256sum <"$work/judged/benefit_metrics.csv")" "$(sha256sum <"$work/stopped/benefit_metrics.csv")"
judge train 2 "$work/final" --groups 1
expect "benefit, a final model of 2 ranks in 1 group, exit code" 0 $?
finish "$work/log"
