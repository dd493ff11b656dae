#!/bin/bash
# The batch script's restarts: slides under way when Slurm ended the job, or when it was told to stop, are not suspected of
# it; those on which ranks die are, and are given up. Slurm and the launcher are played.
. "$(dirname "$0")/survive_lib.bash"
mkdir "$work/bin" && printf '#!/bin/bash\nexec "$@"\n' >"$work/bin/mpirun" && chmod +x "$work/bin/mpirun"
export PATH=$work/bin:$PATH LOBULE LOBULE_STAGE=embed LOBULE_LAUNCHER=mpirun LOBULE_COME_BACK=exit LOBULE_MAX_FRUITLESS=99
tiny_calm=$(cat "$cohort/tiny-calm")
# Start K of the job, in a process group of its own; `job` is the script.
batch() { # K OUT
  SLURM_JOB_ID=77 SLURM_RESTART_COUNT=$1 setsid bash "$LOB_SOURCE/slurm/lobule.sbatch" --output "$2" "$tiny" >>"$2.log" 2>&1 &
  job=$!
}
leases() { journal_of "$1" | grep -c '^lease' || true; }
await_lease() { # N OUT
  local end=$((SECONDS + 30))
  until [ "$(leases "$2")" -gt "$1" ] || [ $SECONDS -gt $end ]; do sleep 0.02; done
}
restarts_told() { journal_of "$1" | sed -n 's/^start.* restart \([0-9]*\) .*/\1/p' | xargs; }

# Held up before its first range is written, and killed with the script each time, as by a preemption.
out=$work/preempted
of=$tiny run 1 plan "$out"
export LOB_TEST_LATE=0:60
for k in 0 1 2 3; do
  before=$(leases "$out")
  batch $k "$out"; await_lease "$before" "$out"
  kill -KILL -- -$job; wait $job 2>/dev/null
done
# Told to stop, and killed before it did.
before=$(leases "$out")
batch 4 "$out"; await_lease "$before" "$out"
kill -TERM $job
until grep -q 'told to stop' "$out.log"; do sleep 0.05; done
pkill -KILL -P $job -f -- "--output $out"
wait $job; expect "told to stop and killed: comes back" 75 $?
# Killed on its own.
before=$(leases "$out")
batch 5 "$out"; await_lease "$before" "$out"
pkill -KILL -P $job -f -- "--output $out"
wait $job; expect "killed: comes back" 75 $?
unset LOB_TEST_LATE
batch 6 "$out"; wait $job; expect "left alone" 0 $?
expect "restarts with a reason" "0 1 2 3 4 5 5" "$(restarts_told "$out")"
expect "slides suspected" 0 "$(grep -c 'at two unexplained ends' "$out.log")"
expect "store" "$tiny_calm" "$(digest "$out")"

# A slide that kills its rank is found out through all restarts.
out=$work/poison
of=$tiny run 1 plan "$out"
export LOB_TEST_KILL=embed:$(sed -n '3s/,.*//p' "$cohort/tiny.csv")
for k in 0 1 2 3 4 5 6; do
  batch $k "$out"; wait $job; rc=$?
  [ $rc = 75 ] || break
done
expect "with a slide that kills its rank" 3 $rc
expect "slides given up" 1 "$(quarantined "$out")"
finish "$out.log"
