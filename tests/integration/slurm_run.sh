#!/bin/bash
# On a real Slurm of several nodes: a job by srun, one by mpirun, one stopped by scancel --signal that comes back.
. "$(dirname "$0")/slurm_lib.bash"
for launcher in srun mpirun; do
  started=$SECONDS
  job=$(LOBULE_LAUNCHER=$launcher submit "$work/$launcher.log" -N 3 --ntasks-per-node=1 -t 5 -- --output "$work/$launcher")
  check_job "$launcher on 3 nodes" "$job" "$work/$launcher" "$work/$launcher.log"
  expect "$launcher: restarts" 0 "$(field "$job" Restarts)"
  expect "$launcher: ranks" 3 "$(sed -n 's/.* ranks \([0-9]*\)[^0-9].*/\1/p' "$work/$launcher/store/part-0001.journal" | head -1)"
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

# The other ranks are slow on their way out: srun kills them at rank 0's code and returns that of a killed rank.
started=$SECONDS
cat >"$work/late" <<L
#!/bin/bash
"$LOBULE" "\$@"; rc=\$?
[ "\${SLURM_PROCID:-0}" = 0 ] || sleep 5
exit \$rc
L
chmod +x "$work/late"
job=$(LOBULE=$work/late LOBULE_LAUNCHER=srun submit "$work/late.log" -N 3 --ntasks-per-node=1 -t 5 -- --output "$work/late-out")
await 60 has_ranges "$work/late-out" 3 || fail "nothing was journalled in 60 s"
touch "$work/late-out/halt"
await 60 over "$job" || fail "halted with ranks that are slow to end: still $(field "$job" JobState)"
expect "halted with ranks that are slow to end: exit code" 76:0 "$(field "$job" ExitCode)"
expect "halted with ranks that are slow to end: restarts" 0 "$(field "$job" Restarts)"
grep -q 'srun returned 1.*rank 0 ended with 76' "$work/late.log" || { fail "srun returned rank 0's code: nothing was tried"; tail -5 "$work/late.log"; }
say "halting took $((SECONDS - started)) s"

# What fails before anything is finished, and again, is not tried twenty times. Nobody can make a folder in /proc.
started=$SECONDS
job=$(LOBULE_MAX_FRUITLESS=2 LOBULE_LAUNCHER=srun submit "$work/vain.log" -N 1 -n 2 -t 5 -- --output /proc/lobule-out)
await 60 over "$job" || fail "failing in vain: still $(field "$job" JobState)"
expect "failing in vain: exit code" 1:0 "$(field "$job" ExitCode)"
expect "failing in vain: restarts" 1 "$(field "$job" Restarts)"
grep -q 'failed 2 times in a row and finished nothing new' "$work/vain.log" || { fail "does not say why it gives up"; tail -5 "$work/vain.log"; }
say "giving up took $((SECONDS - started)) s"
finish
