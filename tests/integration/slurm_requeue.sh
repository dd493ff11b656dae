#!/bin/bash
# On a real Slurm: a job warned by USR1 before its time limit and a job preempted by a higher partition come back
# by themselves and complete.
. "$(dirname "$0")/slurm_lib.bash"
# Slurm's shortest limit is a minute, so the warning comes 55 s before it. One rank is still busy by then.
started=$SECONDS
job=$(LOBULE_LAUNCHER=mpirun submit "$work/limit.log" -N 1 -n 1 -t 1 --signal=B:USR1@55 -- --output "$work/limit")
check_job "warned before the time limit" "$job" "$work/limit" "$work/limit.log"
[ "$(field "$job" Restarts)" -ge 1 ] || fail "the job was over before its warning"
expect "stopped by the warning: exit code" 75 "$(sed -n 's/.*ended with \([0-9]*\);.*/\1/p' "$work/limit.log" | head -1)"
expect "warned before the time limit: tiles journalled twice" 0 "$(journalled_twice "$work/limit")"
say "warned $(field "$job" Restarts) times before its limit, took $((SECONDS - started)) s"

started=$SECONDS
job=$(LOBULE_LAUNCHER=srun submit "$work/preempt.log" -p low -N 3 --ntasks-per-node=2 -t 5 -- --output "$work/preempt")
await 60 has_ranges "$work/preempt" 3 || fail "nothing was journalled in 60 s"
slurm sbatch -p high -N 3 --exclusive -t 1 -o /dev/null --wrap 'sleep 1' >/dev/null
check_job "preempted" "$job" "$work/preempt" "$work/preempt.log"
expect "preempted: restarts" 1 "$(field "$job" Restarts)"
expect "preempted: tiles journalled twice" 0 "$(journalled_twice "$work/preempt")"
say "preempted and come back, took $((SECONDS - started)) s"
finish
