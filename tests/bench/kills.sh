#!/bin/bash
# Random SIGKILLs, each followed by the same command, until the store is finished; then anew with a fresh store, until
# N kills hit. Victim (coordinator, worker, reader, zygote, mpirun) and moment (of plan or embed) are seeded.
# usage: kills.sh [N [SEED [RANKS]]]     environment: LOBULE, LOB_SOURCE, LOB_BINARY_DIR as for the tests
# Prints one JSON line: kills by victim, stores finished and identical, rows dealt again, orphans, stale shared memory.
. "$(dirname "$0")/../integration/cohort_lib.bash"
wanted=${1:-100} seed=${2:-1} ranks=${3:-3}
# A shared memory and a folder for temporary files of our own, where we may: what is left in them is ours.
if [ -z "${LOB_KILLS_INSIDE:-}" ] && unshare --mount true 2>/dev/null; then
  draw_cohort
  rm -rf "$work"
  TMPDIR=${work%/*} LOB_KILLS_INSIDE=1 exec unshare --mount --propagation private bash -c 'mount -t tmpfs tmpfs /dev/shm && exec bash "$@"' - "$0" "$@"
fi
draw_cohort
RANDOM=$seed
export TMPDIR=$work
declare -A kills=([coordinator]=0 [worker]=0 [reader]=0 [zygote]=0 [mpirun]=0)
hits=0 lives=0 identical=0 again=0 flight=0 twice=0 rows=0 runs=0 missed=0 orphans=0 longest=0 early=0 hung=0
calm=$(cat "$cohort/calm")
# What an undisturbed run of a stage takes here and now, so that kills hit it from its first moment to its last.
declare -A span
for stage in plan embed; do
  before=${EPOCHREALTIME/./}
  launch "$ranks" "$LOBULE" $stage --output "$work/calm" "$study" >>"$work/calm.log" 2>&1 || { tail -5 "$work/calm.log"; fail "$stage of an undisturbed run"; finish; }
  span[$stage]=$(((${EPOCHREALTIME/./} - before) / 1000))
done
rm -rf "$work/calm"

children() { pgrep -P "$1" 2>/dev/null; }
rank_pids() { # sorted by rank: mpirun starts them in order
  local p; for p in $(children "$1"); do [ "$(readlink "/proc/$p/exe")" = "$program" ] && echo "$p"; done
}
pick() { # VICTIM MPIRUN: sets pid, or leaves it empty where there is no such process yet
  local ranks candidates=() p z
  ranks=($(rank_pids "$2"))
  case $1 in
    mpirun) candidates=("$2") ;;
    coordinator) candidates=("${ranks[@]:0:1}") ;;
    worker) candidates=("${ranks[@]:1}") ;;
    zygote) for p in "${ranks[@]}"; do candidates+=($(children "$p")); done ;;
    reader) for p in "${ranks[@]}"; do for z in $(children "$p"); do candidates+=($(children "$z")); done; done ;;
  esac
  pid=${candidates[which % (${#candidates[@]} + (${#candidates[@]} == 0))]:-}
}
program=$(readlink -f "$LOBULE")
ours() { pgrep -f -- "--output $out " || true; }
await_gone() { # until no process of the job is left; at most 10 s
  local start=${EPOCHREALTIME/./} ms
  while [ -n "$(ours)" ] && [ $((${EPOCHREALTIME/./} - start)) -lt 10000000 ]; do sleep 0.05; done
  ms=$(((${EPOCHREALTIME/./} - start) / 1000))
  [ $ms -le $longest ] || longest=$ms
  [ -z "$(ours)" ] || { orphans=$((orphans + 1)); fail "processes left after killing $1: $(ours | tr '\n' ' ')"; ours | xargs -r kill -KILL; }
}
# Open MPI 4.1's mpirun now and then waits for ever for a rank that was killed inside MPI_Init, though all are dead.
end_hung_launcher() { # JOB MPIRUN
  local quiet=0
  while kill -0 "$1" 2>/dev/null && [ $quiet -lt 100 ]; do
    if [ -n "$2" ] && [ -d "/proc/$2" ] && ! ps --ppid "$2" -o stat= | grep -qv Z; then quiet=$((quiet + 1)); else quiet=0; fi
    sleep 0.1
  done
  [ $quiet -lt 100 ] || { hung=$((hung + 1)); kill -KILL "$2"; }
}
# One run of STAGE with one kill after WAIT ms, unless it is over by then. Returns the run's exit code.
run_and_kill() { # STAGE VICTIM WAIT
  local mpi pid= tries which=$RANDOM
  local began; began=$(stat -c %s "$work/log" 2>/dev/null || echo 0)
  launch "$ranks" "$LOBULE" "$1" --output "$out" "$study" >>"$work/log" 2>&1 &
  local job=$!
  until mpi=$(pgrep -P $job -x mpirun) || ! kill -0 $job 2>/dev/null; do sleep 0.01; done
  sleep "$(printf '%d.%03d' $(($3 / 1000)) $(($3 % 1000)))"
  for tries in $(seq 20); do
    pick "$2" "$mpi"
    [ -z "$pid" ] && kill -0 $job 2>/dev/null || break
    sleep 0.02
  done
  if [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null; then
    kills[$2]=$((kills[$2] + 1)) hits=$((hits + 1))
    # MPI's shared memory has names until all ranks have mapped it; a launcher killed before leaves them.
    [ "$2" != mpirun ] || [ "$(tail -c +$((began + 1)) "$work/log" | grep -c 'lobule: \(plan\|embed\): [0-9]')" != 0 ] || early=$((early + 1))
    echo "--- killed $2 ($pid) $3 ms into $1" >>"$work/log"
    hit=1
  else
    missed=$((missed + 1)) hit=0
  fi
  end_hung_launcher $job "$mpi"
  wait $job 2>/dev/null
}

victims=(coordinator worker reader zygote mpirun)
while [ $hits -lt "$wanted" ]; do
  lives=$((lives + 1)) out=$work/out-$lives
  for stage in plan embed; do
    for attempt in $(seq 60); do
      victim=${victims[RANDOM % 5]} wait=$((RANDOM * span[$stage] / 32768)) hit=0
      if [ $hits -lt "$wanted" ]; then run_and_kill $stage $victim $wait; else launch "$ranks" "$LOBULE" $stage --output "$out" "$study" >>"$work/log" 2>&1; fi
      rc=$? runs=$((runs + 1))
      await_gone "$victim"
      [ $rc != 0 ] || break
      [ $hit = 1 ] || { fail "$stage ended with $rc though nothing was killed"; tail -5 "$work/log"; break 3; }
    done
    [ $rc = 0 ] || fail "$stage was not done after $attempt runs"
  done
  if [ "$(digest "$out")" = "$calm" ]; then identical=$((identical + 1)); else fail "store $lives differs (seed $seed)"; cp -r "$out" "/tmp/kills-$seed-$lives"; fi
  bad=$(grep -Ec ',(quarantined|failed),' "$out/slides.csv")
  [ "$bad" = 0 ] || fail "store $lives: $bad healthy slides given up"
  again=$((again + $(dealt_again "$out"))) flight=$((flight + $(in_flight "$out"))) twice=$((twice + $(journalled_twice "$out"))) rows=$((rows + $(tiles_of "$out")))
  rm -rf "$out"
done
stale=$(find /dev/shm -type f | wc -l)
[ -n "${LOB_KILLS_INSIDE:-}" ] || stale=-1
[ "$stale" -le $((early * ranks)) ] || fail "$stale files of shared memory are left behind"
expect "rows journalled twice" 0 "$twice"
# Work is in flight for most of an embed: of many kills some must have hit it.
[ $hits -lt 12 ] || [ $flight -gt 0 ] || fail "none of $hits kills hit rows in flight"
[ $again -le $flight ] || fail "$again rows were dealt again, but only $flight were in flight at a kill"
[ -z "${LOB_KILLS_LOG:-}" ] || cp "$work/log" "$LOB_KILLS_LOG"
printf '{"bench": "kills", "seed": %d, "ranks": %d, "kills": %d, "coordinator": %d, "worker": %d, "reader": %d, "zygote": %d, "mpirun": %d, ' \
  "$seed" "$ranks" $hits ${kills[coordinator]} ${kills[worker]} ${kills[reader]} ${kills[zygote]} ${kills[mpirun]}
printf '"runs": %d, "stores": %d, "identical": %d, "rows": %d, "rows_dealt_again": %d, "rows_in_flight_at_kills": %d, "rows_journalled_twice": %d, "plan_ms": %d, "embed_ms": %d, ' \
  $runs $lives $identical $rows $again $flight $twice "${span[plan]}" "${span[embed]}"
printf '"orphans": %d, "longest_end_ms": %d, "stale_shared_memory_files": %d, "mpirun_killed_in_mpi_init": %d, "launcher_hangs": %d, "seconds": %d}\n' \
  $orphans $longest "$stale" $early $hung $SECONDS
finish
