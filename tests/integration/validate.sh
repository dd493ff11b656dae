#!/bin/bash
# The validation job as a whole: the number of ranks, a kill -9 in the middle and a slide given twice change no
# prediction; a second run has nothing to do; other inputs are not mixed in; damaged results are made again.
. "$(dirname "$0")/expect_lib.bash"
# All that must not depend on how the work was done.
digest() { cat "$1"/{folds,predictions,metrics,meta,training}.csv 2>&1 | sha256sum | cut -c1-16; }
validate() { # RANKS OUTPUT [study]
  launch "$1" "$LOBULE" validate --output "$2" "${3:-$work/demo/study.yaml}" >>"$work/log" 2>&1
}

"$LOBULE" demo --bags --patients 90 --centers 3 --tiles 24 "$work/demo" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
sed -i 's/^model: .*/model: {kind: abmil, epochs: 12}/; s/seeds: 5/seeds: 2/' "$work/demo/study.yaml"

validate 1 "$work/one"
expect "one rank, exit code" 0 $?
wanted=$(digest "$work/one")
for ranks in 2 3; do
  validate $ranks "$work/ranks$ranks"
  expect "$ranks ranks give the same tables" "$wanted" "$(digest "$work/ranks$ranks")"
done

# Tiles at both ends: eight of 24 each, the least attended below the most attended.
ends() { awk -F, -v f="$1" 'NR > 1 { n[$3]++; if (!($3 in low) || $8 < low[$3]) low[$3] = $8; if ($8 > high[$3]) high[$3] = $8 }
  END { for (p in n) print p, n[p], low[p], high[p] }' "$work/one/attention/$1_tiles.csv" | sort; }
expect "least attended tiles lie below the most attended ones, eight each" "90 of 90" \
  "$(join <(ends bottom) <(ends top) | awk '{ all++; ok += $2 == 8 && $5 == 8 && $4 <= $6 } END { print ok " of " all }')"

before=$(stat -c %Y.%i "$work/one/predictions.csv")
validate 1 "$work/one"
expect "a second run, exit code" 0 $?
expect "a second run writes nothing" "$before" "$(stat -c %Y.%i "$work/one/predictions.csv")"

# Starts a validation into OUTPUT and sends SIGNAL once two models are trained; its exit code is the answer.
interrupt() { # SIGNAL OUTPUT
  "$LOBULE" validate --output "$2" "$work/demo/study.yaml" >>"$work/log" 2>&1 &
  local job=$!
  until [ "$(find "$2/train" -name 'e*.bin' 2>/dev/null | wc -l)" -ge 2 ] || ! kill -0 $job 2>/dev/null; do
    sleep 0.02
  done
  kill "-$1" $job
  wait $job 2>/dev/null
}
interrupt KILL "$work/killed"
expect "killed before the tables" "no" "$([ -e "$work/killed/predictions.csv" ] && echo yes || echo no)"
left=$(find "$work/killed/train" -name 'e*.bin' | wc -l)
validate 1 "$work/killed"
expect "killed after $left models, then run again: the same tables" "$wanted" "$(digest "$work/killed")"

interrupt USR1 "$work/stopped"
expect "stopped by USR1, exit code" 75 $?
validate 1 "$work/stopped"
expect "stopped, then run again: the same tables" "$wanted" "$(digest "$work/stopped")"

# Killed in the middle of a model: what it had learned is on disk, and is gone on from.
for try in 1 2 3 4 5; do
  rm -rf "$work/middle"
  LOB_TEST_CHECKPOINT=0 "$LOBULE" validate --output "$work/middle" "$work/demo/study.yaml" >>"$work/log" 2>&1 &
  job=$!
  until ls "$work"/middle/train/*.part >/dev/null 2>&1 || ! kill -0 $job 2>/dev/null; do sleep 0.01; done
  kill -KILL $job
  wait $job 2>/dev/null
  ls "$work"/middle/train/*.part >/dev/null 2>&1 && break
done
"$LOBULE" validate --output "$work/middle" "$work/demo/study.yaml" >"$work/middle.log" 2>&1
expect "killed in the middle of a model, exit code of the next run" 0 $?
expect "it goes on where that one was" 1 "$(grep -c 'goes on where it was left' "$work/middle.log")"
expect "and gives the same tables" "$wanted" "$(digest "$work/middle")"
expect "nothing unfinished stays" "" "$(find "$work/middle/train" -name '*.part')"

# A store is read once and its features are held once, whatever the number of folds, seeds and epochs. (Other tools'
# files are read twice: once apart, by a process that may die of them.)
"$LOBULE" demo --bags --patients 60 --centers 3 --tiles 1200 --dim 256 "$work/wide" >>"$work/log" 2>&1
sed -i 's/^model: .*/model: {kind: abmil, epochs: 3, benefit: false}/; s/seeds: 5/seeds: 2/
  s/^features: .*/features: wide.h5/' "$work/wide/study.yaml"
(cd "$work/wide" && "$LOBULE" store import features --to wide.h5 --slides slides.csv --mpp 0.5 --tile-size 224 \
  --tile-mpp 0.5 --float16) >>"$work/log" 2>&1
expect "a larger store, exit code" 0 $?
"$LOBULE" validate "$work/wide/study.yaml" >"$work/wide.log" 2>&1
expect "a larger cohort, exit code" 0 $?
stored=$(stat -c %s "$work/wide/wide.h5" | awk '{ print $1 / 1e6 }')
read -r held bytes most < <(sed -n 's/.*features of \(.*\) MB are resident; rank 0 has read \(.*\) MB in all, and held \(.*\) MB.*/\1 \2 \3/p' \
  "$work/wide.log")
expect "it has read ${bytes:-?} MB for $stored MB stored" yes \
  "$(awk -v b="${bytes:-0}" -v s="$stored" 'BEGIN { print (b >= 0.9 * s && b <= 1.2 * s ? "yes" : "no") }')"
expect "it has held ${most:-?} MB for features of ${held:-?} MB" yes \
  "$(awk -v m="${most:-0}" -v f="${held:-0}" 'BEGIN { print (f > 30 && m >= f && m <= f + 500 ? "yes" : "no") }')"

# Another program: before a held-out center was opened all is trained anew, after that it is refused.
cp "$LOBULE" "$work/lobule"
printf 'other' >>"$work/lobule"
rebuilt() { LOB_CONFIGS="$LOB_SOURCE/configs" "$work/lobule" validate --output "$1" "$work/demo/study.yaml" >"$work/rebuilt.log" 2>&1; }
rebuilt "$work/one"
expect "another program into a finished folder, exit code" 2 $?
expect "it says that code changed" 1 "$(grep -c 'changed: code' "$work/rebuilt.log")"
interrupt KILL "$work/rebuilt"
trained=$(find "$work/rebuilt/train" -name 'e*.bin' | wc -l)
rebuilt "$work/rebuilt"
expect "another program before anything was opened, exit code" 0 $?
expect "trains all again" "$trained" "$(grep -c 'made under another lock' "$work/rebuilt.log")"
expect "and gives the same tables" "$wanted" "$(digest "$work/rebuilt")"

# One bit of a result on disk turned: found by its CRC, trained again.
damaged=$(find "$work/killed/train" -name 'e*.bin' | sort | head -1)
size=$(stat -c %s "$damaged")
printf '\x55' | dd of="$damaged" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
rm "$work/killed/predictions.csv"
validate 1 "$work/killed"
expect "a damaged result is made again" "$wanted" "$(digest "$work/killed")"

# Every patient's slide under a second name.
cp -r "$work/demo" "$work/twice"
(cd "$work/twice" && for f in features/*.h5; do cp "$f" "${f%.h5}-again.h5"; done &&
  awk -F, 'NR == 1 {print; next} {print; f = $4; sub(/\.h5$/, "-again.h5", f); print $1 "-again," $2 "," $3 "," f}' \
    slides.csv >new.csv && mv new.csv slides.csv)
validate 1 "$work/twice/out" "$work/twice/study.yaml"
expect "every slide twice gives the same tables" "$wanted" "$(digest "$work/twice/out")"

sed -i 's/epochs: 12/epochs: 13/' "$work/demo/study.yaml"
validate 1 "$work/one"
expect "another model into the same folder, exit code" 2 $?
expect "and nothing changed" "$wanted" "$(digest "$work/one")"

finish "$work/log"
