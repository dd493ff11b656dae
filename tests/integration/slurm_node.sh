#!/bin/bash
# On a real Slurm: a node loses its power while two jobs run on it, one by srun and one by mpirun. Both come back
# by themselves and complete.
. "$(dirname "$0")/slurm_lib.bash"
started=$SECONDS
job_srun=$(LOBULE_LAUNCHER=srun submit "$work/srun.log" -N 3 --ntasks-per-node=1 -t 5 -- --output "$work/srun")
job_mpirun=$(LOBULE_LAUNCHER=mpirun submit "$work/mpirun.log" -N 3 --ntasks-per-node=1 -t 5 -- --output "$work/mpirun")
await 60 has_ranges "$work/srun" 3 && await 60 has_ranges "$work/mpirun" 3 || fail "nothing was journalled in 60 s"
cluster node-down 2
say "power cut with $(ranges "$work/srun") and $(ranges "$work/mpirun") ranges journalled"
is_down() { [ "$(slurm sinfo -h -N -n n2 -p low -t down -o %N)" = n2 ]; }
await 60 is_down || fail "Slurm did not see that the node is gone"
cluster node-up 2
for launcher in srun mpirun; do
  job=job_$launcher
  check_job "node lost under $launcher" "${!job}" "$work/$launcher" "$work/$launcher.log"
  [ "$(field "${!job}" Restarts)" -ge 1 ] || fail "node lost under $launcher: the job was over before"
  expect "node lost under $launcher: tiles journalled twice" 0 "$(journalled_twice "$work/$launcher")"
done
say "took $((SECONDS - started)) s"
finish
