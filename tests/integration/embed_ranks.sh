#!/bin/bash
# The number of ranks changes no byte of the store; a second run finds nothing to do.
. "$(dirname "$0")/embed_lib.bash"
reference=
for ranks in 1 2 3 5; do
  study "$work/$ranks" 4
  run $ranks "$work/$ranks" plan; expect "plan with $ranks ranks" 0 $?
  run $ranks "$work/$ranks" embed; expect "embed with $ranks ranks" 0 $?
  this=$(digest "$work/$ranks/out/store/part-0001.h5")
  reference=${reference:-$this}
  expect "datasets with $ranks ranks" "$reference" "$this"
  expect "lock is gone" no "$([ -e "$work/$ranks/out/store/lock" ] && echo yes || echo no)"
done
before=$(sha256sum <"$work/2/out/store/part-0001.h5")
run 2 "$work/2" plan && run 2 "$work/2" embed; expect "second run" 0 $?
expect "finished part untouched" "$before" "$(sha256sum <"$work/2/out/store/part-0001.h5")"
expect "no second part" no "$([ -e "$work/2/out/store/part-0002.h5" ] && echo yes || echo no)"
expect "slides done in slides.csv" 8 "$(grep -c ',done,' "$work/2/out/slides.csv")"
# Slides that come later make a part of their own.
study "$work/2" 5
run 3 "$work/2" plan && run 3 "$work/2" embed; expect "run with new slides" 0 $?
expect "first part untouched" "$before" "$(sha256sum <"$work/2/out/store/part-0001.h5")"
expect "new part" yes "$([ -e "$work/2/out/store/part-0002.h5" ] && echo yes || echo no)"
expect "slides done in slides.csv" 10 "$(grep -c ',done,' "$work/2/out/slides.csv")"
sed -i 's/^output/tiles: {min_tissue: 0.5}\noutput/' "$work/2/study.yaml"
run 2 "$work/2" plan; expect "another tiling is refused" 2 $?
expect "the difference is named" yes "$(grep -q 'minimum tissue' "$work/2/log" && echo yes || echo no)"
finish
