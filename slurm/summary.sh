#!/bin/bash
# What became of a campaign: its jobs, its slides, its report. Submitted by campaign.sh.
# usage: summary.sh OUTPUT JOB...
output=$1; shift
for job in "$@"; do
  scontrol -o show job "$job" 2>/dev/null |
    sed -n 's/^JobId=\([0-9]*\) .*JobName=\([^ ]*\).* JobState=\([^ ]*\) .* Restarts=\([0-9]*\) .* ExitCode=\([0-9]*\):.* RunTime=\([^ ]*\).*/job \1 \2: \3, exit code \5, \4 restarts, last ran \6/p'
done
if [ -r "$output/slides.csv" ]; then
  awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "state") column = i; next }
    { n[$column]++ } END { printf "slides:"; for (s in n) printf " %d %s", n[s], s; print "" }' "$output/slides.csv"
else
  echo "slides: none planned"
fi
if [ -s "$output/report.html" ]; then echo "report: $output/report.html"; else echo "report: none"; fi
