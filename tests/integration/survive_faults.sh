#!/bin/bash
# A disk that fills up, a read-only output, a cut journal, flipped bits, locks of the dead and of the living: a clear
# message, the right exit code, nothing lost, and with the cause gone the same command completes with the same store.
. "$(dirname "$0")/survive_lib.bash"
calm=$(cat "$cohort/calm") tiny_calm=$(cat "$cohort/tiny-calm")

full_disk() {
  local small=$work/small
  mkdir "$small" && mount -t tmpfs -o size=700k tmpfs "$small" 2>/dev/null || { partly_skipped "full and read-only disks (no right to mount a tmpfs)"; return; }
  trap 'umount -l "$work/small" 2>/dev/null; rm -rf "$work"' EXIT
  run 1 plan "$small/out"; expect "plan on a small disk" 0 $?
  head -c 100M /dev/zero >"$small/ballast" 2>/dev/null
  truncate -s -60K "$small/ballast"
  launch 2 "$LOBULE" embed --output "$small/out" "$study" >"$work/full.log" 2>&1; expect "embed on a full disk" 1 $?
  grep -qi 'rows are left to write.*make room' "$work/full.log" && say "ok: says so before it computes" || { fail "does not say that the disk is full"; grep "^lobule" "$work/full.log" | tail -5; }
  rm "$small/ballast"
  launch 2 "$LOBULE" embed --output "$small/out" "$study" >"$work/full.log" 2>&1 &
  job=$!
  await_ranges 1 "$small/out"
  head -c 100M /dev/zero >"$small/ballast" 2>/dev/null
  wait $job; expect "embed on a disk that fills up" 1 $?
  grep -qiE 'no space left|the file system is full' "$work/full.log" && say "ok: says why" || { fail "does not say that the disk is full"; grep "^lobule" "$work/full.log" | tail -5; }
  rm "$small/ballast"
  launch 2 "$LOBULE" embed --output "$small/out" "$study" >"$work/full.log" 2>&1; expect "embed once there is room" 0 $?
  expect "store after a full disk" "$calm" "$(digest "$small/out")"
  rm -rf "$small/out"
  run 1 plan "$small/out"
  mount -o remount,ro "$small"
  launch 2 "$LOBULE" embed --output "$small/out" "$study" >"$work/ro.log" 2>&1; expect "embed on a read-only disk" 1 $?
  grep -qi 'read-only' "$work/ro.log" && say "ok: says why" || { fail "does not say that the disk is read-only"; tail -3 "$work/ro.log"; }
  mount -o remount,rw,size=200k "$small"
  rm -rf "$small/out"
  launch 1 "$LOBULE" plan --output "$small/out" "$study" >"$work/tight.log" 2>&1; expect "plan without room for the store" 1 $?
  grep -qi 'make room\|no space left' "$work/tight.log" && say "ok: says why" || { fail "does not say what is missing"; tail -3 "$work/tight.log"; }
}

# A tiny store cut off with nearly all ranges journalled, as it lay on disk.
cut_off() { # OUT
  of=$tiny run 1 plan "$1"
  of=$tiny begin 1 "$1"
  await_ranges 4 "$1"
  cut_power
}
cut_journal() {
  local out=$work/cut size cut bad=0 n=0
  cut_off "$out"
  size=$(stat -c %s "$out/store/part-0001.journal")
  say "journal of $size bytes with $(ranges "$out") ranges, cut at every ${LOB_CUT_STEP:-9}th of its last 200 bytes"
  for cut in $(seq 1 "${LOB_CUT_STEP:-9}" 200); do
    rm -rf "$work/one" && cp -r "$out" "$work/one" && rm -f "$work/one/store/lock"
    truncate -s $((size - cut)) "$work/one/store/part-0001.journal"
    of=$tiny run 1 embed "$work/one" && [ "$(digest "$work/one")" = "$tiny_calm" ] || { bad=$((bad + 1)); say "cut $cut bytes before its end"; }
    n=$((n + 1))
  done
  expect "stores that differ of $n cut journals" 0 $bad
}
flip() { # FILE OFFSET: one bit of a byte
  local byte; byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "$(printf '\\x%02x' $((byte ^ 4)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
place_of() { # DATASET FILE: where in the file it begins, from HDF5 itself
  h5dump -H -p -d "$1" "$2" | sed -n 's/.*OFFSET \([0-9]*\).*/\1/p' | head -1
}
flip_bits() {
  local out=$work/flip row part
  cut_off "$out"
  part=$out/store/part-0001.h5
  row=$(place_of /features "$part") # of the first row that is journalled
  [ -n "$row" ] || { fail "no offset of /features"; return; }
  local all; all=$(stat -c %s "$part")
  # One bit in each of sixteen places of the rows: some are journalled, some are not yet written.
  for k in $(seq 0 15); do
    local at=$((row + k * (tiles_tiny * 170 / 16)))
    [ $at -ge "$all" ] || flip "$part" $at
  done
  flip "$part" $(($(place_of /coords "$part") + 5))
  "$LOBULE" store verify "$part" >"$work/verify.log" 2>&1; expect "verify of an unfinished store with flipped bits" 1 $?
  grep -q 'checksum of coords and tissue' "$work/verify.log" || fail "verify does not see that a tile lies elsewhere"
  of=$tiny run 1 embed "$out" --verify; expect "embed over flipped bits" 0 $?
  said "damaged ranges are named" 'not as they were written' "$out"
  said "tiles laid down again are named" 'coords or tissue in .* are laid down again' "$out"
  expect "store after flipped bits" "$tiny_calm" "$(digest "$out")"
  flip "$part" $((row + 171))
  "$LOBULE" store verify "$part" >"$work/verify.log" 2>&1; expect "verify of a finished store with a flipped bit" 1 $?
  cat "$work/verify.log"
  grep -q 'embed --verify' "$work/verify.log" || fail "verify does not say what to do"
  # A finished part does not need its journal.
  sed -i '3s/lease/leave/' "$out/store/part-0001.journal"
  of=$tiny run 1 embed "$out"; expect "embed beside a damaged journal of a finished part" 0 $?
  said "the damaged journal is told" 'finished and does not need it' "$out"
  "$LOBULE" store verify "$part" >"$work/verify.log" 2>&1; expect "verify beside a damaged journal" 1 $?
  grep -q "checksum is" "$work/verify.log" || fail "the damage itself is not told"
  # A slide that cannot be made again stays as it is.
  cp "$part" "$work/damaged.h5"
  mv "$out/plan" "$out/plan-away" && of=$tiny run 1 embed "$out"
  of=$tiny run 1 embed "$out" --verify; expect "embed --verify without the plan" 2 $?
  said "what to do is told" 'restore the store' "$out"
  cmp -s "$part" "$work/damaged.h5" || fail "the part was changed"
  rm -rf "$out/plan" && mv "$out/plan-away" "$out/plan"
  # What verify advises works, also for what was laid down by plan, and where it is interrupted.
  flip "$part" "$(place_of /quality/pen "$part")"
  flip "$part" $(($(place_of /tissue "$part") + tiles_tiny - 1))
  LOB_TEST_KILL=embed:P0 of=$tiny run 2 embed "$out" --verify; [ $? != 0 ] || fail "not interrupted"
  of=$tiny run 1 embed "$out"; expect "embed after an interrupted repair" 0 $?
  said "damaged slides are named" 'not as they were written: it is made again' "$out"
  expect "store that was repaired" "$tiny_calm" "$(digest "$out")"
  expect "slides planned anew" 1 "$(ls "$out"/store/part-*.h5 | wc -l)"
  rm "$out/store/part-0001.journal"
  flip "$part" $((row + 171))
  of=$tiny run 2 embed "$out" --verify; expect "embed --verify of a part without a journal" 0 $?
  expect "store that was repaired without its journal" "$tiny_calm" "$(digest "$out")"
  of=$tiny run 1 embed "$out" --verify; expect "embed --verify of a sound store" 0 $?
  # A part that does not even open.
  head -c 8 /dev/zero | dd of="$part" conv=notrunc status=none
  of=$tiny run 1 embed "$out"; expect "embed with a part that cannot be opened" 2 $?
  said "what to do is told" 'move it away' "$out"
  mv "$part" "$out/store/part-0002.h5"
  of=$tiny run 1 embed "$out"; expect "embed with a part missing" 2 $?
  said "which one is told" 'part-0001.h5 is missing, but .*part-0002.h5 is there' "$out"
  mv "$out/store/part-0002.h5" "$out/store/part-0001.journal" "$work/"
  of=$tiny run 1 embed "$out"; expect "a part made again" 0 $?
  expect "store that was made again" "$tiny_calm" "$(digest "$out")"
  # An unfinished part cannot do without.
  out=$work/unfinished
  cut_off "$out"
  sed -i '3s/lease/leave/' "$out/store/part-0001.journal"
  of=$tiny run 1 embed "$out"; expect "embed with a damaged journal" 2 $?
  said "what to do is told" 'remove it together with' "$out"
}

# What plan knew is damaged while a part is unfinished: told, and nothing that was embedded is lost without it.
lost_plan() {
  local out=$work/plan-journal grid
  cut_off "$out"
  sed -i '3s/lease/leave/' "$out/plan/plan.journal"
  of=$tiny run 1 embed "$out"; expect "embed with a damaged journal of plan" 2 $?
  said "what to do is told" 'plan.journal: line 3 .* or remove it' "$out"
  rm "$out/plan/plan.journal"
  of=$tiny run 1 embed "$out"; expect "embed with the plan made again" 0 $?
  expect "store with the plan made again" "$tiny_calm" "$(digest "$out")"
  expect "tiles embedded twice" 0 "$(journalled_twice "$out")"

  out=$work/plan-grid
  of=$tiny run 1 plan "$out"
  for grid in "$out"/plan/*.grid; do flip "$grid" 10; done
  of=$tiny run 1 embed "$out"; expect "embed with damaged grids" 1 $?
  said "what to do is told" 'remove the plan folder' "$out"
  rm -r "$out/plan"
  of=$tiny run 2 embed "$out"; expect "embed with the grids made again" 0 $?
  expect "store with the grids made again" "$tiny_calm" "$(digest "$out")"
}

locks() {
  local out=$work/lock
  cut_off "$out"
  [ -e "$out/store/lock" ] || fail "no lock was left behind"
  of=$tiny run 1 embed "$out"; expect "embed past the lock of a dead process" 0 $?
  said "the dead lock is named" 'taking over the lock' "$out"
  expect "store after a dead lock" "$tiny_calm" "$(digest "$out")"

  out=$work/two
  run 1 plan "$out"
  # The first job is held still while it has the store: on a fast machine it would be over before the second one asks.
  # It lets go for a moment between looking at the slides again and embedding.
  begin 2 "$out"
  while kill -0 $job 2>/dev/null; do
    [ -e "$out/store/lock" ] || { sleep 0.01; continue; }
    pkill -STOP -f -- "--output $out"
    [ ! -e "$out/store/lock" ] || break
    pkill -CONT -f -- "--output $out"
  done
  launch 1 "$LOBULE" embed --output "$out" "$study" >"$work/second.log" 2>&1; expect "a second job on the same output" 2 $?
  pkill -CONT -f -- "--output $out"
  grep -q 'in use by process' "$work/second.log" && say "ok: says by whom" || { fail "does not say who holds the store"; tail -3 "$work/second.log"; }
  wait $job; expect "the first job" 0 $?
  expect "store after two jobs at once" "$calm" "$(digest "$out")"
}

# A job is held still so long that another one takes its store over, and wakes up: while the other one works, or when it
# is through. It writes nothing any more.
taken_over() { # WHEN
  local out=$work/late-$1 first of=$study wanted=$calm
  [ "$1" = during ] || { of=$tiny wanted=$tiny_calm; }
  run 1 plan "$out"
  begin 2 "$out"; first=$job
  await_ranges 3 "$out"
  pkill -STOP -f -- "--output $out"
  sed 's/^host .*/host elsewhere/; s/^boot .*/boot another/' "$out/store/lock" >"$work/foreign"
  cat "$work/foreign" >"$out/store/lock"
  touch -d '-20 min' "$out/store/lock"
  launch 2 "$LOBULE" embed --output "$out" "$of" >"$out-next.log" 2>&1 &
  job=$!
  if [ "$1" = after ]; then wait $job; else await_ranges 8 "$out"; fi
  cp "$out/store/part-0001.journal" "$work/journal"
  # Had it been held up just before its write, that would come now.
  [ "$1" = after ] || tail -n 1 "$work/journal" >>"$out/store/part-0001.journal"
  pkill -CONT -f -- "--output $out"
  wait $first; expect "a job that wakes up $1 another took its store" 1 $?
  said "it says so" 'taken away from this process' "$out"
  if [ "$1" = during ]; then
    wait $job || { fail "the other one ended with $?"; tail -5 "$out-next.log"; }
  fi
  head -c "$(stat -c %s "$work/journal")" "$out/store/part-0001.journal" | cmp -s - "$work/journal" || fail "the journal was written over"
  [ "$1" = during ] || cmp -s "$work/journal" "$out/store/part-0001.journal" || fail "the journal grew"
  expect "store that was taken over ($1)" "$wanted" "$(digest "$out")"
  "$LOBULE" store verify "$out" >"$work/verify.log" 2>&1; expect "verify" 0 $?
}
taken_over_twice() { taken_over during; taken_over after; }

# A rank is held up just before it writes, its lease goes to another one, and then it writes something else over the
# other's rows.
late_writer() {
  local out=$work/late-writer
  tiles() { cat "$1/store/part-0001.journal" 2>/dev/null | awk -F'\t' '$1 == "range" { n += $4 } END { print n + 0 }'; }
  of=$tiny run 1 plan "$out" && of=$tiny run 1 plan "$out-tiny"
  LOB_TEST_LEASE=0.1 LOB_TEST_LATE=1:12 of=$tiny run 2 embed "$out-tiny"; expect "embed with a rank that writes late" 0 $?
  said "late writes are told" 'wrote after their leases had gone to others: .*, 1 are done again' "$out-tiny"
  expect "store with a late writer" "$tiny_calm" "$(digest "$out-tiny")"
  # Stopped before it is known what it wrote over, all being done by the other rank: not believed afterwards.
  LOB_TEST_LEASE=0.1 LOB_TEST_LATE=1:12 of=$tiny begin 2 "$out"
  while kill -0 $job 2>/dev/null && [ "$(tiles "$out")" -lt "$tiles_tiny" ]; do sleep 0.1; done
  pkill -USR1 -f -- "--output $out "; wait $job; expect "stopped with a late writer" 75 $?
  of=$tiny run 2 embed "$out"; expect "embed once more" 0 $?
  expect "store after a stop with a late writer" "$tiny_calm" "$(digest "$out")"
}

tiles_tiny=$("$LOBULE" store ls --json "$cohort/tiny-out/store/part-0001.h5" | sed -n 's/.*"rows": *\([0-9]*\).*/\1/p')
for part in ${LOB_SURVIVE:-full_disk cut_journal flip_bits lost_plan locks taken_over_twice late_writer}; do $part; done
expect "processes left behind" 0 "$(leftovers)"
finish
