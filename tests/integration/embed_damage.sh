#!/bin/bash
# After a run that died: rows that are not as they were written are found and done again; a torn journal loses
# only its last line; a second job on the same output is refused; a stale lock is taken over.
. "$(dirname "$0")/embed_lib.bash"
study "$work/calm" 6
run 2 "$work/calm" plan && run 2 "$work/calm" embed; rc=$?
expect "undisturbed run" 0 $rc
[ $rc = 0 ] || { tail -5 "$work/calm/log"; finish; }
calm=$(digest "$work/calm/out/store/part-0001.h5")

dir=$work/s
study "$dir" 6
run 1 "$dir" plan; expect "plan" 0 $?
begin 2 "$dir"; await_ranges 4 "$dir"
ranks="$(rank_pid 0) $(rank_pid 1)"
kill -STOP $ranks
run 1 "$dir" embed; expect "a second job on the same output" 2 $?
kill -KILL $ranks; wait $job
part=$dir/out/store/part-0001.h5 journal=$dir/out/store/part-0001.journal
cp "$part" "$work/part"; cp "$journal" "$work/journal"

# Rows of the first journalled range are overwritten behind the program's back.
slide=$(awk -F'\t' '$1 == "range" { print $2; exit }' "$journal")
tile=$(awk -F'\t' '$1 == "range" { print $3; exit }' "$journal")
row=$(h5dump -d /slides/slide_id "$part" | grep -o '"[a-z]*-[0-9]*' | tr -d '"' | grep -n -x "$slide" | cut -d: -f1)
first=$(( (row - 1) * 49 + tile ))
start=$(h5dump -p -H -d /features "$part" | sed -n 's/.*OFFSET \([0-9]*\).*/\1/p')
width=$(h5dump -H -d /features "$part" | sed -n 's/.*SIMPLE { ( [0-9]*, \([0-9]*\) ).*/\1/p')
head -c 40 /dev/zero | tr '\0' '\125' |
  dd of="$part" bs=1 seek=$((start + first * width * 2)) conv=notrunc status=none
run 2 "$dir" embed; expect "goes on with damaged rows" 0 $?
expect "the damage was seen" yes "$(grep -q 'not as they were written' "$dir/log" && echo yes || echo no)"
expect "datasets" "$calm" "$(digest "$part")"

# The journal's end is torn at several places.
for cut in 1 7 30 80; do
  cp "$work/part" "$part"
  head -c -$cut "$work/journal" >"$journal"
  run 2 "$dir" embed; expect "journal cut by $cut bytes" 0 $?
  expect "datasets" "$calm" "$(digest "$part")"
done
finish
