#!/bin/bash
# Strong and weak scaling on a Slurm: submits one job a size and gathers one JSON line a result.
# usage: scaling.sh submit STUDY DIR "RANKS..." [strong|weak|both] [SBATCH OPTIONS]     plans once, then one embed job a size
#        scaling.sh gather DIR                                                          JSON lines on standard output
# strong: every size embeds the whole cohort. weak: slides in proportion to the ranks, the largest size gets them all.
# Ratios are against the smallest size's own measured rate, so the smallest should be one rank where that is bearable.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${LOBULE:-lobule}

one_size() { # KIND RANKS MOST STUDY DIR [options]: a folder with its own tables, planned and embedded by one job
  local kind=$1 ranks=$2 most=$3 study=$4 dir=$5/$1-$2; shift 5
  local from to=$dir/slides.csv all part
  mkdir -p "$dir"
  from=$(dirname "$study")/$(sed -n 's/.*slides: *\([^,} ]*\).*/\1/p' "$study" | head -1)
  all=$(($(wc -l <"$from") - 1)) part=$all
  [ "$kind" = strong ] || part=$((all * ranks / most > 0 ? all * ranks / most : 1))
  # Slides are taken evenly over the table, so that centers keep their shares; paths become absolute.
  awk -F, -v OFS=, -v all="$all" -v part="$part" -v root="$(dirname "$from")" '
    NR == 1 { for (i = 1; i <= NF; i++) if ($i == "path") c = i; print; next }
    int((NR - 1) * part / all) > int((NR - 2) * part / all) { if ($c !~ /^\//) $c = root "/" $c; print }' "$from" >"$to"
  sed "s|slides: *[^,} ]*|slides: $to|; s|patients: *[^,} ]*|patients: $(dirname "$study")/$(sed -n 's/.*patients: *\([^,} ]*\).*/\1/p' "$study" | head -1)|" "$study" >"$dir/study.yaml"
  sbatch --parsable -n "$ranks" --job-name="scaling-$kind-$ranks" --output="$dir/log" "$@" \
    --wrap "bash '$here/scaling.sh' one '$dir'"
}

# Inside the job: plans, then embeds with the clock running. Neither comes back: a sweep is measured in one go.
one() { # DIR
  local launch=(srun -K1 --mpi=pmix) rc=0
  [ "${LOBULE_LAUNCHER:-srun}" = srun ] || launch=(mpirun)
  export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-ring} OPENBLAS_NUM_THREADS=1
  rm -rf "$1/out" "$1/begin" "$1/end"
  "${launch[@]}" "$program" plan --output "$1/out" "$1/study.yaml" || rc=$?
  [ $rc = 0 ] || [ $rc = 3 ] || exit $rc
  date +%s.%N >"$1/begin"
  "${launch[@]}" "$program" embed --output "$1/out" "$1/study.yaml" || rc=$?
  [ $rc = 0 ] || [ $rc = 3 ] || exit $rc
  date +%s.%N >"$1/end"
}

submit() {
  [ $# -ge 3 ] || { sed -n '3,6s/^# //p' "$0"; exit 2; }
  local study dir sizes=$3 kinds=${4:-both} kind ranks most=0 job=
  study=$(realpath "$1") dir=$(realpath -m "$2")
  shift $(($# < 4 ? 3 : 4))
  [ "$kinds" != both ] || kinds="strong weak"
  for ranks in $sizes; do [ "$ranks" -le $most ] || most=$ranks; done
  for kind in $kinds; do
    for ranks in $sizes; do
      # One after the other: they would compete for nodes and file system.
      job=$(one_size "$kind" "$ranks" "$most" "$study" "$dir" ${job:+--dependency="afterany:$job"} "$@")
      job=${job%%;*}
      echo "scaling: $kind with $ranks ranks is job $job"
    done
  done
}

# Tiles a second of embed as its own log says: from "so many tiles" to the end of work, start of MPI apart.
result() { # DIR: "ranks tiles seconds busy-percent wall"
  local log=$1/out/log.jsonl
  [ -s "$1/end" ] && [ -s "$log" ] || { echo "scaling: $1 has not ended" >&2; return 0; }
  awk -v name="$(basename "$1")" -v wall="$(echo "$(cat "$1/end") - $(cat "$1/begin")" | bc)" '
    /embed: [0-9]+ slides, / { match($0, /slides, [0-9]+ tiles/); tiles = substr($0, RSTART + 8, RLENGTH - 14) }
    /embed: [0-9]+ ranks busy/ { match($0, /busy [0-9.]+ %/); busy = substr($0, RSTART + 5, RLENGTH - 7); match($0, /of [0-9.]+ s each/); seconds = substr($0, RSTART + 3, RLENGTH - 10) }
    END { split(name, part, "-"); if (seconds > 0) print part[1], part[2], tiles, seconds, busy, wall }' "$log"
}

gather() {
  local dir
  for dir in "$1"/strong-* "$1"/weak-*; do [ -d "$dir" ] && result "$dir"; done | sort -k1,1 -k2,2n |
    awk '{ rate = $3 / $4; if ($1 != kind) { kind = $1; base = rate / $2 }
      printf "{\"bench\": \"scaling\", \"case\": \"%s\", \"ranks\": %d, \"tiles\": %d, \"seconds\": %.2f, \"rate\": %.2f, \"unit\": \"tiles/s\", \"ceiling\": %.2f, \"ratio\": %.3f, \"busy_percent\": %.0f, \"job_seconds\": %.2f}\n",
        $1, $2, $3, $4, rate, base * $2, rate / (base * $2), $5, $6 }'
}

case ${1:-} in
  submit) shift; submit "$@" ;;
  one) one "$2" ;;
  gather) gather "${2?"gather needs the folder of the sweep"}" ;;
  *) sed -n '3,6s/^# //p' "$0"; exit 2 ;;
esac
