#!/bin/bash
# Verifying with several processes finds what one finds, and names slide and rows; a process that dies is no "all well".
. "$(dirname "$0")/survive_lib.bash"
part=$work/part-0001.h5
cp "$cohort/undisturbed/store/part-0001.h5" "$part"
place=$(h5dump -H -p -d /features "$part" | sed -n 's/.*OFFSET \([0-9]*\).*/\1/p' | head -1)
rows=$(tiles_of "$cohort/undisturbed")
size=$(h5dump -H -p -d /features "$part" | sed -n 's/.* SIZE \([0-9]*\).*/\1/p' | head -1)
"$LOBULE" store verify -j 3 "$part" >"$work/well" 2>&1; expect "an undamaged store, three processes" 0 $?
grep -q "$rows rows read.*all well" "$work/well" || { fail "rows read"; cat "$work/well"; }
for row in 0 $((rows / 2)) $((rows - 1)); do
  at=$((place + row * (size / rows) + 7))
  byte=$(od -An -tu1 -j $at -N 1 "$part")
  printf "$(printf '\\x%02x' $((byte ^ 4)))" | dd of="$part" bs=1 seek=$at conv=notrunc status=none
done
for processes in 1 2 5 100; do
  "$LOBULE" store verify -j $processes "$part" >"$work/found-$processes" 2>"$work/err"; expect "three flipped bits, $processes processes" 1 $?
  expect "ranges found by $processes" 3 "$(wc -l <"$work/found-$processes")"
  cmp -s "$work/found-1" "$work/found-$processes" || fail "$processes processes report otherwise than one"
done
cat "$work/found-5"
awk -v last=$((rows - 1)) -F'\t' '$3 <= 0 && 0 < $4 { a = 1 } $3 <= last && last < $4 { b = 1 } END { exit !(a && b) }' "$work/found-5" || fail "the ranges do not hold the damaged rows"
"$LOBULE" store verify -j 0 "$part" >/dev/null 2>&1; expect "no process at all" 2 $?
(ulimit -v 60000; "$LOBULE" store verify -j 2 "$part") >"$work/starved" 2>&1
[ $? != 0 ] || fail "starved processes say that all is well"
finish
