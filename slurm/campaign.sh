#!/bin/bash
# Submits a study as four dependent jobs, each with resources of its own, and a summary at the end.
# usage: campaign.sh STUDY [--plan 'SBATCH OPTIONS'] [--embed '...'] [--validate '...'] [--report '...'] [--dry-run]
# Exit code 3 of a stage (slides failed) is a warning: the chain goes on.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '3,4s/^# //p' "$0"; exit 2; }
study=$1; shift
declare -A options=([plan]='-n 4 -t 60' [embed]='-n 16 -t 1440' [validate]='-n 4 -t 240' [report]='-n 1 -t 30')
submit=sbatch
while [ $# -gt 0 ]; do
  case $1 in
    --plan|--embed|--validate|--report) options[${1#--}]=$2; shift ;;
    --dry-run) submit='echo sbatch' ;;
    *) echo "campaign: unknown option $1" >&2; exit 2 ;;
  esac
  shift
done

# Each stage waits for the one before, however it ended, and looks at how it ended itself: 0 and 3 go on.
previous=
for stage in plan embed validate report; do
  dependency=()
  [ -z "$previous" ] || dependency=(--dependency="afterany:$previous")
  id=$(LOBULE_SLURM_DIR=$here LOBULE_STAGE=$stage LOBULE_PREVIOUS=$previous $submit --parsable "${dependency[@]}" ${options[$stage]} \
    --job-name="lobule-$stage" --export=ALL "$here/stage.sbatch" "$study")
  echo "campaign: $stage is job $id"
  previous=${id%%;*}
done
