#!/bin/bash
# Ranks that share the patients out train what one rank trains: within a node, across nodes that each hold a part
# (pretended here), with features streaming from a file. Too little memory is said, with what would do.
set -u
: "${LOBULE:?path of the program}" "${LOB_SOURCE:?root of the source}"
. "$LOB_SOURCE/jobs/launch.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
say() { echo "train_groups.sh: $*"; }
expect() { # WHAT WANTED GOT
  if [ "$2" = "$3" ]; then say "ok: $1"; else say "FAILED: $1: expected $2, got $3"; failures=$((failures + 1)); fi
}
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
[ "$failures" = 0 ] || { tail -30 "$work/log"; exit 1; }
