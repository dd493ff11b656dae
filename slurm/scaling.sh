#!/bin/bash
# Strong and weak scaling on a Slurm: submits one job a size and gathers one JSON line a result.
# usage: scaling.sh submit STUDY DIR "RANKS..." [strong|weak|both] [SBATCH OPTIONS]     plans once, then one embed job a size
#        scaling.sh gather DIR                                                          JSON lines on standard output
#        scaling.sh table DIR | scaling.sh plot DIR FILE.svg                            the same for people: a table, the curves
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
  [ $# -ge 3 ] || { sed -n '3,7s/^# //p' "$0"; exit 2; }
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

# "case ranks tiles seconds rate ideal ratio busy" of each line of gather.
columns() { gather "$1" | sed 's/.*"case": "\([a-z]*\)", "ranks": \([0-9]*\), "tiles": \([0-9]*\), "seconds": \([0-9.]*\), "rate": \([0-9.]*\),.*"ceiling": \([0-9.]*\), "ratio": \([0-9.]*\), "busy_percent": \([0-9]*\).*/\1 \2 \3 \4 \5 \6 \7 \8/'; }

table() {
  columns "$1" | awk 'BEGIN { printf "%-7s %6s %10s %10s %12s %12s %11s %7s\n", "case", "ranks", "tiles", "seconds", "tiles/s", "ideal", "efficiency", "busy %" }
    { printf "%-7s %6d %10d %10.2f %12.2f %12.2f %11.3f %7d\n", $1, $2, $3, $4, $5, $6, $7, $8 }'
}

# Two panels, ranks in doublings: rate over the smallest size's (both axes logarithmic, dashed: ideal), and efficiency.
plot() { # DIR FILE
  columns "$1" | awk '
    { n++; kind[n] = $1; ranks[n] = $2; rate[n] = $5; ideal[n] = $6; eff[n] = $7; if (n == 1 || $2 < low) low = $2; if ($2 > high) high = $2 }
    function x(r, left) { return left + 320 * (high > low ? log(r / low) / log(high / low) : 0) }
    function y(s) { return 340 - 280 * (high > low ? log(s) / log(high / low) : 0) }
    function label(px, py, anchor, text) { printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", px, py, anchor, text }
    END {
      if (n == 0) exit 1
      print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"420\" font-family=\"sans-serif\" font-size=\"12\"><rect width=\"860\" height=\"420\" fill=\"white\"/>"
      label(220, 30, "middle", "speed-up over the smallest size"); label(630, 30, "middle", "efficiency")
      for (p = 0; p < 2; p++) printf "<path d=\"M%d 60V340H%d\" fill=\"none\" stroke=\"black\"/>\n", 60 + 410 * p, 380 + 410 * p
      printf "<path d=\"M60 340L380 60\" stroke=\"gray\" stroke-dasharray=\"5 4\"/><path d=\"M470 60H790\" stroke=\"gray\" stroke-dasharray=\"5 4\"/>\n"
      for (s = 1; s <= high / low; s *= 2) label(52, y(s) + 4, "end", s)
      for (e = 0; e <= 1; e += 0.25) label(462, 344 - 280 * e, "end", e)
      for (r = low; r <= high; r *= 2) for (p = 0; p < 2; p++) label(x(r, 60 + 410 * p), 360, "middle", r)
      label(220, 385, "middle", "ranks"); label(630, 385, "middle", "ranks")
      colour["strong"] = "#1b6ca8"; colour["weak"] = "#c8553d"; row = 0
      for (k in colour) {
        a = b = ""
        for (i = 1; i <= n; i++) if (kind[i] == k) {
          base = ideal[i] / ranks[i] * low; px = x(ranks[i], 60)
          a = a (a == "" ? "M" : "L") sprintf("%.1f %.1f", px, y(rate[i] / base))
          b = b (b == "" ? "M" : "L") sprintf("%.1f %.1f", px + 410, 340 - 280 * eff[i])
          printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/><circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", px, y(rate[i] / base), colour[k], px + 410, 340 - 280 * eff[i], colour[k]
        }
        if (a == "") continue
        printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/><path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", a, colour[k], b, colour[k]
        printf "<path d=\"M%d 405h24\" stroke=\"%s\" stroke-width=\"2\"/>", 60 + 130 * row, colour[k]; label(90 + 130 * row++, 409, "start", k)
      }
      label(250 + 60, 409, "start", "dashed: ideal")
      print "</svg>"
    }' >"$2" || { echo "scaling: nothing to plot in $1" >&2; return 1; }
}

case ${1:-} in
  submit) shift; submit "$@" ;;
  one) one "$2" ;;
  gather) gather "${2?"gather needs the folder of the sweep"}" ;;
  table) table "${2?"table needs the folder of the sweep"}" ;;
  plot) plot "${2?"plot needs the folder of the sweep"}" "${3?"plot needs a file to write"}" ;;
  *) sed -n '3,7s/^# //p' "$0"; exit 2 ;;
esac
