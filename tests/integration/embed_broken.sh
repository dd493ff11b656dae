#!/bin/bash
# Real and broken slides together: the good ones are done, each bad one is listed with its own reason, exit 3;
# a slide without mpp is done once the manifest gives it.
. "$(dirname "$0")/embed_lib.bash"
dir=$work/s
study "$dir" 2 broken
run 2 "$dir" plan; expect "plan" 3 $?
run 2 "$dir" embed; expect "embed" 3 $?
# The slide of which only some tiles are damaged is done without them.
expect "good slides done" 5 "$(grep -c ',done,' "$dir/out/slides.csv")"
bad=$(ls "$DATA/broken" | wc -l)
expect "bad slides failed" $bad "$(grep -c ',failed,' "$dir/out/slides.csv")"
value() { # SLIDE COLUMN
  awk -F, -v s="$1" -v c="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == c) k = i } $1 == s { print $k }' "$dir/out/slides.csv"
}
expect "its damaged tiles are counted" yes "$([ "$(value broken-corrupt-tiles unreadable)" -gt 0 ] && echo yes || echo no)"
expect "and what of its overview could not be read" yes \
  "$(awk -v v="$(value broken-corrupt-tiles overview_unreadable)" 'BEGIN { print (v > 0 && v < 0.1) ? "yes" : "no" }')"
# Its other tiles have the features of the undamaged slide's: rows by their position.
rows() { # SLIDE: x y and a sum of each readable row
  "$LOBULE" store export --format trident --replace --to "$work/export" "$dir/out/store/part-0001.h5" >/dev/null 2>&1
  for d in coords features; do
    h5dump -d /$d -b LE -o "$work/$d.bin" "$work/export/$1.h5" >/dev/null 2>&1
  done
  width=$(h5dump -H -d /features "$work/export/$1.h5" | sed -n 's/.*SIMPLE { ( [0-9]*, \([0-9]*\) ).*/\1/p')
  paste -d' ' <(od -An -v -t d8 -w16 "$work/coords.bin" | tr -s ' ') <(od -An -v -t x1 -w$((4 * width)) "$work/features.bin" | while read -r row; do echo "$row" | cksum; done)
}
damaged=$(rows broken-corrupt-tiles | sort) whole=$(rows cmu-1 | sort)
expect "damaged slide has rows" yes "$([ "$(echo "$damaged" | wc -l)" -gt 30 ] && echo yes || echo no)"
expect "rows that differ from the undamaged slide's" 0 \
  "$(join -j 1 <(echo "$damaged" | awk '{ print $1 "," $2, $3 }' | sort) <(echo "$whole" | awk '{ print $1 "," $2, $3 }' | sort) | awk '$2 != $3' | wc -l)"
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
