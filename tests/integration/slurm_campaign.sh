#!/bin/bash
# On a real Slurm: a campaign of four dependent jobs, each with its own resources; a warning (a slide failed) goes
# on, an error ends the chain, and a stage cut short by TERM to its ranks comes back before the next starts.
. "$(dirname "$0")/slurm_lib.bash"
campaign() { # STUDY OUT [options]
  slurm env -C "$work" LOBULE_LAUNCHER=srun bash "$LOB_SOURCE/slurm/campaign.sh" "$1" "${@:3}" --output "$2"
}
# The same cohort, but for one slide that is no slide.
mkdir "$work/odd"
cp "$study" "$cohort/patients.csv" "$work/odd/"
awk -F, -v OFS=, -v root="$cohort" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "path") c = i; print; next }
  { $c = NR == 3 ? "garbage.svs" : root "/" $c; print }' "$cohort/slides.csv" >"$work/odd/slides.csv"
head -c 50000 /dev/urandom >"$work/odd/garbage.svs"
odd=$work/odd/study.yaml
"$LOBULE" plan --output "$work/calm" "$odd" >"$work/calm.log" 2>&1; expect "plan without Slurm, with a broken slide" 3 $?
"$LOBULE" embed --output "$work/calm" "$odd" >>"$work/calm.log" 2>&1; expect "embed without Slurm, with a broken slide" 3 $?
stage_of() { sed -n "s/^campaign: $1 is job \([0-9]*\)$/\1/p" "$work/ids"; }
started=$SECONDS
campaign "$odd" "$work/out" --plan '-N 1 -n 1 -t 5' --embed '-N 3 --ntasks-per-node=1 -t 5' --validate '-N 2 --ntasks-per-node=1 -t 5' \
  --report '-n 1 -t 5' >"$work/ids"
cat "$work/ids"
await 60 has_ranges "$work/out" 3 || fail "nothing was journalled in 60 s"
slurm scancel --signal=TERM "$(stage_of embed)"
for stage in plan embed validate; do
  await 100 over "$(stage_of $stage)" || fail "$stage: still $(field "$(stage_of $stage)" JobState)"
  expect "$stage: exit code" 0:0 "$(field "$(stage_of $stage)" ExitCode)"
done
await 150 over "$(stage_of report)" || fail "report: still $(field "$(stage_of report)" JobState)"
expect "report: exit code" 0:0 "$(field "$(stage_of report)" ExitCode)"
expect "the campaign's store" "$(digest "$work/calm")" "$(digest "$work/out")"
[ -s "$work/out/report.html" ] || fail "no report"
expect "embed: restarts" 1 "$(field "$(stage_of embed)" Restarts)"
expect "embed: how it ended on TERM, and then" "75 3" "$(sed -n 's/.*ended with \([0-9]*\); coming back.*/\1/p; s/.*warning: embed is done, but slides failed.*/3/p' \
  "$work/lobule-embed-$(stage_of embed).log" | xargs)"
summary=$work/lobule-summary-$(stage_of summary).log
await 60 over "$(stage_of summary)"
cat "$summary"
grep -q '^job .*lobule-embed: COMPLETED, exit code 0, 1 restarts' "$summary" || fail "no word about embed in the summary"
slides=$(($(wc -l <"$cohort/slides.csv") - 1))
grep -Eq "^slides:( 1 failed| $((slides - 1)) done){2}$" "$summary" || fail "no count of slides in the summary"
say "the campaign took $((SECONDS - started)) s"

# An error: what was to come after is cancelled, and the summary says so.
started=$SECONDS
sed 's/^encoder:.*/encoder: {name: nosuch}/' "$odd" >"$work/odd/wrong.yaml"
campaign "$work/odd/wrong.yaml" "$work/wrong" --plan '-n 1 -t 5' --embed '-n 1 -t 5' --validate '-n 1 -t 5' --report '-n 1 -t 5' >"$work/ids"
await 60 over "$(stage_of summary)" || fail "no summary of a campaign that failed"
expect "plan of a study that is wrong: exit code" 2:0 "$(field "$(stage_of plan)" ExitCode)"
expect "what follows an error" "CANCELLED CANCELLED CANCELLED" "$(for stage in embed validate report; do field "$(stage_of $stage)" JobState; done | xargs)"
expect "reports after an error" 1 "$(grep -c '^report: none$' "$work/lobule-summary-$(stage_of summary).log")"
say "an error ended the chain in $((SECONDS - started)) s"

# Where Slurm may not requeue: a new job goes on, and what waited for the old one waits for it.
started=$SECONDS
first=$(LOBULE_COME_BACK=resubmit LOBULE_LAUNCHER=srun submit "$work/again.log" -N 3 --ntasks-per-node=1 -c 2 --mem=300 --exclusive -t 5 -- --output "$work/again")
after=$(slurm sbatch --parsable --dependency=afterok:"$first" --kill-on-invalid-dep=yes -n 1 -t 1 -o /dev/null --wrap true)
anyway=$(slurm sbatch --parsable --dependency=afterany:"$first" -n 1 -t 1 -o /dev/null --wrap true)
await 60 has_ranges "$work/again" 3 || fail "nothing was journalled in 60 s"
# A killed rank leaves its lock, made on another host, to the new job.
slurm scancel --signal=KILL "$first"
await 60 grep -q 'goes on from here' "$work/again.log" || fail "no new job was submitted"
new=$(sed -n 's/.*job \([0-9]*\) goes on from here/\1/p' "$work/again.log")
options() { local f; for f in CPUs.Task MinMemoryNode OverSubscribe NumTasks TimeLimit Partition; do echo "$f=$(field "$1" $f)"; done | xargs; }
expect "resources of the job submitted anew" "$(options "$first")" "$(options "$new")"
expect "memory asked for" 300M "$(field "$new" MinMemoryNode)"
expect "what waited for the first job" "afterok:$new afterany:$new" "$(for job in $after $anyway; do field $job Dependency; done | sed 's/(.*//' | xargs)"
check_job "submitted anew" "$new" "$work/again" "$work/again.log"
await 30 over "$after" || fail "what waited for the first job still waits: $(field "$after" Dependency)"
expect "the job that waited" COMPLETED "$(field "$after" JobState)"
await 30 over "$anyway" || fail "what waited for any end still waits: $(field "$anyway" Dependency)"
say "submitting anew took $((SECONDS - started)) s"
finish
