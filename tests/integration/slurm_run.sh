#!/bin/bash
# On a real Slurm of several nodes: a job by srun, one by mpirun, one stopped by scancel --signal that comes back.
. "$(dirname "$0")/slurm_lib.bash"
for launcher in srun mpirun; do
  started=$SECONDS
  job=$(LOBULE_LAUNCHER=$launcher submit "$work/$launcher.log" -N 3 --ntasks-per-node=1 -t 5 -- --output "$work/$launcher")
  check_job "$launcher on 3 nodes" "$job" "$work/$launcher" "$work/$launcher.log"
  expect "$launcher: restarts" 0 "$(field "$job" Restarts)"
  expect "$launcher: ranks" 3 "$(sed -n 's/.* ranks \([0-9]*\) .*/\1/p' "$work/$launcher/store/part-0001.journal" | head -1)"
  say "$launcher took $((SECONDS - started)) s"
done

started=$SECONDS
job=$(LOBULE_LAUNCHER=srun submit "$work/signal.log" -N 3 --ntasks-per-node=1 -t 5 -- --output "$work/signal")
await 60 has_ranges "$work/signal" 3 || fail "nothing was journalled in 60 s"
slurm scancel --signal=USR1 "$job"
await 30 grep -q 'ended with' "$work/signal.log" || fail "the job did not stop within 30 s"
expect "scancel --signal=USR1: exit code" 75 "$(sed -n 's/.*ended with \([0-9]*\);.*/\1/p' "$work/signal.log" | head -1)"
check_job "after scancel --signal=USR1" "$job" "$work/signal" "$work/signal.log"
expect "after scancel --signal=USR1: restarts" 1 "$(field "$job" Restarts)"
expect "after scancel --signal=USR1: tiles journalled twice" 0 "$(journalled_twice "$work/signal")"
say "stopping and coming back took $((SECONDS - started)) s"
finish
