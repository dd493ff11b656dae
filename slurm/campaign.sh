#!/bin/bash
# Submits a study as four dependent jobs, each with resources of its own, and a summary at the end.
# usage: campaign.sh STUDY [--plan 'SBATCH OPTIONS'] [--embed '...'] [--validate '...'] [--report '...'] [--dry-run] [lobule's options]
# Each job comes back by itself until it is done (see lobule.sbatch); failed slides are a warning, an error ends the chain.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '3,4s/^# //p' "$0"; exit 2; }
study=$1; shift
[ -r "$study" ] || { echo "campaign: $study cannot be read" >&2; exit 2; }
declare -A options=([plan]='-n 4 -t 60' [embed]='-n 16 -t 1440' [validate]='-n 4 -t 240' [report]='-n 1 -t 30')
rest=() submit=sbatch
output=$(sed -n 's/^output: *\([^ #]*\).*/\1/p' "$study")
output=$(cd "$(dirname "$study")" && realpath -m "${output:-out}")
while [ $# -gt 0 ]; do
  case $1 in
    --plan|--embed|--validate|--report) options[${1#--}]=${2?"$1 needs options of sbatch"}; shift ;;
    --dry-run) submit='echo sbatch' ;;
    --output) output=$(realpath -m "$2"); rest+=("$1" "$2"); shift ;;
    *) rest+=("$1") ;;
  esac
  shift
done

previous= jobs=
for stage in plan embed validate report; do
  dependency=()
  [ -z "$previous" ] || dependency=(--dependency="afterok:$previous" --kill-on-invalid-dep=yes)
  id=$(LOBULE_STAGE=$stage LOBULE_SLIDES_MAY_FAIL=1 $submit --parsable --job-name="lobule-$stage" --output="%x-%j.log" \
    "${dependency[@]}" ${options[$stage]} "$here/lobule.sbatch" "$study" ${rest[@]+"${rest[@]}"})
  echo "campaign: $stage is job $id"
  previous=${id%%;*} jobs="$jobs $previous"
done
# The summary runs however the others ended; what they did stands in the output folder.
id=$($submit --parsable --job-name=lobule-summary --output="%x-%j.log" --dependency="afterany:$previous" -n 1 -t 5 \
  "$here/summary.sh" "$output" $jobs)
echo "campaign: summary is job $id"
