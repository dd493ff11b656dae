#!/bin/bash
# Stain normalisation: the same for every rank count, recorded, never mixed; stains and tile quality in slides.csv; what
# a filter leaves out is counted without a new embedding.
. "$(dirname "$0")/embed_lib.bash"
dir=$work/none
study "$dir" 1
run 1 "$dir" plan && run 1 "$dir" embed; expect "without normalisation" 0 $?
none=$(digest "$dir/out/store/part-0001.h5")
value() { # DIR SLIDE COLUMN
  awk -F, -v s="$2" -v c="$3" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == c) k = i } $1 == s { print $k }' "$1/out/slides.csv"
}
between() { awk -v v="$1" -v a="$2" -v b="$3" 'BEGIN { print (v != "" && v >= a && v <= b) ? "yes" : "no" }'; }
for slide in cmu-1 tcga-1; do
  expect "$slide: haematoxylin absorbs more red" yes \
    "$(between "$(value "$dir" $slide hema_red)" "$(value "$dir" $slide eosin_red)" 0.9)"
  expect "$slide: eosin absorbs green" yes "$(between "$(value "$dir" $slide eosin_green)" 0.7 1)"
  expect "$slide: blurred tiles" 0 "$(value "$dir" $slide tiles_blur)"
  expect "$slide: tiles left out" 0 "$(value "$dir" $slide tiles_left_out)"
done
sed -i 's/^output/tiles: {max_blur: 3}\noutput/' "$dir/study.yaml"
run 1 "$dir" embed; expect "a filter asks for no new embedding" 0 $?
expect "what it leaves out is counted" yes "$(between "$(value "$dir" cmu-1 tiles_left_out)" 1 49)"
expect "the store is as it was" "$none" "$(digest "$dir/out/store/part-0001.h5")"
sed -i 's/^output/stain: {normalise: macenko}\noutput/' "$dir/study.yaml"
run 1 "$dir" embed; expect "mixing is refused" 2 $?
expect "the difference is named" yes "$(grep -q 'stain normalisation' "$dir/log" && echo yes || echo no)"
for method in macenko reinhard; do
  reference=
  for ranks in 1 3; do
    study "$work/$method-$ranks" 1
    sed -i "s/^output/stain: {normalise: $method}\noutput/" "$work/$method-$ranks/study.yaml"
    run $ranks "$work/$method-$ranks" plan && run $ranks "$work/$method-$ranks" embed; expect "$method, $ranks ranks" 0 $?
    this=$(digest "$work/$method-$ranks/out/store/part-0001.h5")
    reference=${reference:-$this}
    expect "$method: datasets with $ranks ranks" "$reference" "$this"
  done
  expect "$method changes features" yes "$([ "$reference" != "$none" ] && echo yes || echo no)"
  expect "$method is recorded" yes "$(h5dump -a /stain "$work/$method-1/out/store/part-0001.h5" | grep -q "$method" && echo yes || echo no)"
  "$LOBULE" store verify "$work/$method-1/out/store/part-0001.h5" >/dev/null 2>&1; expect "$method: verify" 0 $?
done
sed -i 's/normalise: reinhard/normalise: vahadane/' "$work/reinhard-1/study.yaml"
run 1 "$work/reinhard-1" embed; expect "an unknown method" 2 $?
finish
