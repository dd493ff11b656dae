#!/bin/bash
# Real and broken slides together: the good ones are done, each bad one is listed with its own reason, exit 3;
# a slide without mpp is done once the manifest gives it.
. "$(dirname "$0")/embed_lib.bash"
dir=$work/s
study "$dir" 2 broken
run 2 "$dir" plan; expect "plan" 3 $?
run 2 "$dir" embed; expect "embed" 3 $?
expect "good slides done" 4 "$(grep -c ',done,' "$dir/out/slides.csv")"
bad=$(ls "$DATA/broken" | wc -l)
expect "bad slides failed" $((bad + 1)) "$(grep -c ',failed,' "$dir/out/slides.csv")"
expect "each with a reason" 0 "$(grep -c ',failed,,' "$dir/out/slides.csv")"
expect "the remedy for a missing scale is named" yes \
  "$(grep '^nompp' "$dir/out/slides.csv" | grep -q 'column mpp of slides.csv' && echo yes || echo no)"
expect "no path in the reasons" no "$(grep ',failed,' "$dir/out/slides.csv" | grep -q "$DATA" && echo yes || echo no)"
sed -i 's/^\(nompp,.*\),$/\1,0.25/' "$dir/slides.csv"
run 1 "$dir" plan; expect "plan after mpp is given" 3 $?
run 1 "$dir" embed; expect "embed after mpp is given" 3 $?
expect "now done" yes "$(grep '^nompp' "$dir/out/slides.csv" | grep -q ',done,' && echo yes || echo no)"
launch 1 "$LOBULE" status --json "$dir/out" | grep -q '"state": "done"'; expect "status says done" 0 $?
finish
