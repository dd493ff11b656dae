#!/bin/bash
# On a real Slurm: a job warned by USR1 before its time limit and a job preempted by a higher partition come back
# by themselves and complete.
. "$(dirname "$0")/slurm_lib.bash"
# Slurm's shortest limit is a minute and it looks at limits twice a minute: the ranks are held until it has looked.
started=$SECONDS
job=$(LOBULE_LAUNCHER=srun submit "$work/limit.log" -N 3 --ntasks-per-node=1 -t 1 --signal=B:USR1@50 -- --output "$work/limit")
await 60 has_ranges "$work/limit" 3 || fail "nothing was journalled in 60 s"
slurm scancel --signal=STOP "$job"
await 60 grep -q 'told to stop' "$work/limit.log" || fail "no warning came before the limit"
slurm scancel --signal=CONT "$job"
check_job "warned before the time limit" "$job" "$work/limit" "$work/limit.log"
expect "stopped by the warning: exit code" 75 "$(sed -n 's/.*ended with \([0-9]*\);.*/\1/p' "$work/limit.log" | head -1)"
expect "warned before the time limit: restarts" 1 "$(field "$job" Restarts)"
expect "warned before the time limit: tiles journalled twice" 0 "$(journalled_twice "$work/limit")"
say "warned before its limit and come back, took $((SECONDS - started)) s"

started=$SECONDS
job=$(LOBULE_LAUNCHER=srun submit "$work/preempt.log" -p low -N 3 --ntasks-per-node=2 -t 5 -- --output "$work/preempt")
await 60 has_ranges "$work/preempt" 3 || fail "nothing was journalled in 60 s"
slurm sbatch -p high -N 3 --exclusive -t 1 -o /dev/null --wrap 'sleep 1' >/dev/null
check_job "preempted" "$job" "$work/preempt" "$work/preempt.log"
expect "preempted: restarts" 1 "$(field "$job" Restarts)"
expect "preempted: tiles journalled twice" 0 "$(journalled_twice "$work/preempt")"
say "preempted and come back, took $((SECONDS - started)) s"
finish
