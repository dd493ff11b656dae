#!/bin/bash
# On a real Slurm: a campaign of four dependent jobs, each with its own resources; a warning (slides failed) goes
# on, an error ends the chain, and a stage cut short by its own end comes back before the next starts.
. "$(dirname "$0")/slurm_lib.bash"
campaign() { # OUT [options]
  slurm env -C "$work" LOBULE_LAUNCHER=srun bash "$LOB_SOURCE/slurm/campaign.sh" "$study" "${@:2}" --output "$1"
}
stage_of() { sed -n "s/^campaign: $1 is job \([0-9]*\)$/\1/p" "$work/ids"; }
started=$SECONDS
campaign "$work/out" --plan '-N 1 -n 1 -t 5' --embed '-N 3 --ntasks-per-node=1 -t 5' --validate '-N 2 --ntasks-per-node=1 -t 5' \
  --report '-n 1 -t 5' >"$work/ids"
cat "$work/ids"
await 60 has_ranges "$work/out" 3 || fail "nothing was journalled in 60 s"
slurm scancel --signal=USR1 "$(stage_of embed)"
for stage in plan embed validate; do
  await 100 over "$(stage_of $stage)" || fail "$stage: still $(field "$(stage_of $stage)" JobState)"
  expect "$stage: exit code" 0:0 "$(field "$(stage_of $stage)" ExitCode)"
done
check_job "the campaign's last job" "$(stage_of report)" "$work/out" "$work/lobule-report-$(stage_of report).log"
expect "embed: restarts" 1 "$(field "$(stage_of embed)" Restarts)"
summary=$work/lobule-summary-$(stage_of summary).log
await 60 over "$(stage_of summary)"
cat "$summary"
grep -q '^job .*lobule-embed: COMPLETED, exit code 0, 1 restarts' "$summary" || fail "no word about embed in the summary"
grep -q "^slides: $(($(wc -l <"$cohort/slides.csv") - 1)) done$" "$summary" || fail "no count of slides in the summary"
say "the campaign took $((SECONDS - started)) s"

# Where Slurm may not requeue: a new job goes on, and what waited for the old one waits for it.
started=$SECONDS
first=$(LOBULE_COME_BACK=resubmit LOBULE_LAUNCHER=srun submit "$work/again.log" -N 3 --ntasks-per-node=1 -t 5 -- --output "$work/again")
after=$(slurm sbatch --parsable --dependency=afterok:"$first" --kill-on-invalid-dep=yes -n 1 -t 1 -o /dev/null --wrap true)
await 60 has_ranges "$work/again" 3 || fail "nothing was journalled in 60 s"
# A killed rank leaves its lock, made on another host, to the new job.
slurm scancel --signal=KILL "$first"
await 60 grep -q 'goes on from here' "$work/again.log" || fail "no new job was submitted"
check_job "submitted anew" "$(sed -n 's/.*job \([0-9]*\) goes on from here/\1/p' "$work/again.log")" "$work/again" "$work/again.log"
await 30 over "$after" || fail "what waited for the first job still waits: $(field "$after" Dependency)"
expect "the job that waited" COMPLETED "$(field "$after" JobState)"
say "submitting anew took $((SECONDS - started)) s"
finish
