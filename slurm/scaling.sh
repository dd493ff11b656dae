#!/bin/bash
# Strong and weak scaling on a Slurm: submits one job a size and gathers one JSON line a result.
# usage: scaling.sh submit STUDY DIR "RANKS..." [strong|weak|both] [SBATCH OPTIONS]     one job a size, one after the other
#        scaling.sh gather DIR                                                          JSON lines on standard output
#        scaling.sh table DIR | scaling.sh plot DIR FILE.svg                            the same for people: a table, the curves
#   REPEATS=3: timed runs of embed a size    WARMUP=1: untimed ones before, which fill the caches of the job's own nodes
#   LOBULE=path of the program    LOBULE_LAUNCHER=srun|mpirun (default srun where Slurm has PMIx)
# strong: every size embeds the whole cohort. weak: slides in proportion to the ranks, the largest size gets them all.
# Ratios are of medians, against the smallest size's own rate, so the smallest should be one rank where that is bearable.
# gather ends with 1 where that size has no result, with 3 where another is not complete.
set -u
here=$(cd "$(dirname "$0")" && pwd)
program=${LOBULE:-lobule}
die() { echo "scaling: $*" >&2; exit 2; }
usage() { sed -n '3,7s/^# //p' "$0"; exit 2; }
quoted() { local word; for word in "$@"; do printf "'%s' " "${word//\'/\'\\\'\'}"; done; }
is_count() { case $1 in ''|0*|*[!0-9]*) return 1 ;; esac; }

submit() {
  [ $# -ge 3 ] || usage
  local study dir sizes=$3 kinds=${4:-both} repeats=${REPEATS:-3} warmup=${WARMUP:-1} kind ranks most=0 job= part
  [ -r "$1" ] || die "$1 cannot be read"
  command -v sbatch >/dev/null || die "sbatch is not here: this needs a Slurm"
  program=$(command -v "$program") || die "${LOBULE:-lobule} is not a program (set LOBULE)"
  study=$(realpath "$1") program=$(realpath "$program") dir=$(realpath -m "$2")
  shift $(($# < 4 ? 3 : 4))
  case $kinds in both) kinds="strong weak" ;; strong|weak) ;; *) die "$kinds is neither strong, weak nor both" ;; esac
  is_count "$repeats" || die "REPEATS=$repeats: expected 1 or more"
  [ "$warmup" = 0 ] || is_count "$warmup" || die "WARMUP=$warmup: expected 0 or more"
  sizes=$(printf '%s\n' $sizes | sort -nu | xargs)
  [ -n "$sizes" ] || die "no sizes: expected numbers of ranks, e.g. \"1 2 4\""
  for ranks in $sizes; do is_count "$ranks" || die "$ranks is not a number of ranks"; most=$ranks; done
  [ ! -e "$dir/sweep" ] || die "$dir holds a sweep already; give another folder or remove it"
  mkdir -p "$dir" || die "$dir cannot be made"
  printf '%s\n' "sizes $sizes" "kinds $kinds" "repeats $repeats" "warmup $warmup" "study $study" "options $*" >"$dir/sweep" || die "$dir cannot be written"
  for kind in $kinds; do
    for ranks in $sizes; do
      [ "$kind" = weak ] && part=$ranks/$most || part=1/1
      mkdir -p "$dir/$kind-$ranks" || die "$dir/$kind-$ranks cannot be made"
      # One after the other: they would compete for nodes and file system. None comes back: a run is timed in one go.
      job=$(sbatch --parsable -n "$ranks" --job-name="scaling-$kind-$ranks" --output="$dir/$kind-$ranks/log" --no-requeue \
        ${job:+--dependency="afterany:$job"} "$@" \
        --wrap "LOBULE=$(quoted "$program") bash $(quoted "$here/scaling.sh" one "$study" "$dir/$kind-$ranks" "$part" "$repeats" "$warmup" "$*")") ||
        { [ -n "$job" ] || rm -f "$dir/sweep"; die "$kind with $ranks ranks was not submitted"; }
      job=${job%%;*}
      echo "scaling: $kind with $ranks ranks is job $job"
    done
  done
}

# ---- inside a job ----

# What ran where, as the members of a JSON object.
provenance() { # LAUNCHER SBATCH-OPTIONS
  local cpu commit
  cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
  commit=$(git -C "$here" rev-parse --short HEAD 2>/dev/null)
  pair() { local v=${2//\\/\\\\}; printf '"%s": "%s"' "$1" "${v//\"/\\\"}"; }
  pair program "$("$program" --version)"; printf ', '; pair commit "${commit:-unknown}"
  printf ', '; pair launcher "$1"; printf ', '; pair mpi "$(mpirun --version 2>/dev/null | head -1)"
  printf ', '; pair slurm "$(sbatch --version)"; printf ', '; pair job "${SLURM_JOB_ID:-}"
  printf ', '; pair nodes "${SLURM_JOB_NODELIST:-}"; printf ', '; pair tasks_per_node "${SLURM_TASKS_PER_NODE:-}"
  printf ', '; pair cpu "${cpu:-unknown}"; printf ', '; pair sbatch_options "$2"; printf ', '; pair time "$(date -u +%FT%TZ)"
}

one_run() { # OUT SHARE STUDY: plans, then embeds; "tiles seconds busy-percent wall" on standard output
  local out=$1 share=$2 study=$3 stage rc begin=
  rm -rf "$out"
  for stage in plan embed; do
    begin=${EPOCHREALTIME/[.,]/}
    "${launch[@]}" "$program" $stage --share "$share" --output "$out" "$study" >&2; rc=$?
    [ $rc != 75 ] || echo "scaling: $stage did not fit into the job's time limit" >&2
    [ $rc = 0 ] || [ $rc = 3 ] || { [ $rc = 75 ] && return 1; return $rc; }
  done
  # Seconds as embed itself counts them: the farm's, start and end of MPI apart.
  awk -v wall=$((${EPOCHREALTIME/[.,]/} - begin)) '
    /embed: [0-9]+ slides, / { match($0, /slides, [0-9]+ tiles/); tiles = substr($0, RSTART + 8, RLENGTH - 14) }
    /embed: [0-9]+ ranks busy/ { match($0, /busy [0-9.]+ %/); busy = substr($0, RSTART + 5, RLENGTH - 7); match($0, /of [0-9.]+ s each/); seconds = substr($0, RSTART + 3, RLENGTH - 10) }
    END { if (!(seconds > 0 && tiles > 0)) exit 1; printf "%d %s %s %.2f\n", tiles, seconds, busy, wall / 1e6 }' "$out/log.jsonl" ||
    { echo "scaling: $out/log.jsonl tells of no embedded tiles" >&2; return 1; }
}

one() { # STUDY DIR SHARE REPEATS WARMUP SBATCH-OPTIONS
  local dir=$2 run rc line launcher=${LOBULE_LAUNCHER:-$(srun --mpi=list 2>&1 | grep -q pmix && echo srun || echo mpirun)} launch
  case $launcher in srun) launch=(srun -K1 --mpi=pmix) ;; mpirun) launch=(mpirun) ;; *) die "LOBULE_LAUNCHER=$launcher is neither srun nor mpirun" ;; esac
  export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-ring} OPENBLAS_NUM_THREADS=1 OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-core}
  [ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  rm -f "$dir/results"
  provenance "$launcher" "$6" >"$dir/provenance"
  for run in $(seq $((1 - $5)) "$4"); do
    line=$(one_run "$dir/run" "$3" "$1"); rc=$?
    [ $rc = 0 ] || exit $rc
    [ "$run" -lt 1 ] || echo "$line" >>"$dir/results"
    echo "scaling: run $run: $line (tiles, seconds, busy %, seconds of the job)"
    # Rows are of no use here, and may be terabytes.
    rm -rf "$dir/run/store"
  done
}

# ---- afterwards ----

# "case ranks tiles repeats seconds rate least most ideal ratio busy wall lower upper" a size that is complete: medians, the
# slowest and the fastest run, and from six runs on the 95 % interval of the median rate, by its order statistics.
columns() { # DIR
  local kind ranks sizes kinds repeats base missing=0
  [ -r "$1/sweep" ] || die "$1 holds no sweep (expected its file sweep)"
  of() { sed -n "s/^$1 //p" "$2/sweep"; }
  sizes=$(of sizes "$1") kinds=$(of kinds "$1") repeats=$(of repeats "$1")
  for kind in $kinds; do
    base=
    for ranks in $sizes; do
      if [ "$(cat "$1/$kind-$ranks/results" 2>/dev/null | wc -l)" -lt "$repeats" ]; then
        echo "scaling: $kind with $ranks ranks has not all its $repeats runs (see $1/$kind-$ranks/log)" >&2
        # Against any other size efficiencies would flatter.
        [ -n "$base" ] || { echo "scaling: $kind: every ratio is against the smallest size, $ranks ranks; run that again" >&2; return 1; }
        missing=3
        continue
      fi
      awk -v kind="$kind" -v ranks="$ranks" -v base="${base:-0}" '
        function sort(v, n,   i, j, t) { for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j] < v[j - 1]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t } }
        function median(v, n) { return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2 }
        { n++; tiles = $1; seconds[n] = $2; rate[n] = $1 / $2; busy[n] = $3; wall[n] = $4 }
        END {
          sort(seconds, n); sort(rate, n); sort(busy, n); sort(wall, n)
          m = median(rate, n); ideal = base > 0 ? base * ranks : m; lower = upper = "null"
          if (n >= 6) { half = 1.96 * sqrt(n) / 2; low = int(n / 2 - half); high = int(n / 2 + half) + 2; lower = rate[low < 1 ? 1 : low]; upper = rate[high > n ? n : high] }
          print kind, ranks, tiles, n, median(seconds, n), m, rate[1], rate[n], ideal, m / ideal, median(busy, n), median(wall, n), lower, upper
        }' OFMT=%.6g CONVFMT=%.6g "$1/$kind-$ranks/results" >"$1/$kind-$ranks/summary" || return 1
      cat "$1/$kind-$ranks/summary"
      [ -n "$base" ] || base=$(awk '{ print $6 / $2 }' OFMT=%.9g "$1/$kind-$ranks/summary")
    done
  done
  return $missing
}

gather() {
  local rows rc; rows=$(columns "$1"); rc=$?
  [ $rc = 0 ] || [ $rc = 3 ] || return $rc
  while read -r kind ranks tiles repeats seconds rate least most ideal ratio busy wall lower upper; do
    printf '{"bench": "scaling", "case": "%s", "ranks": %d, "tiles": %d, "repeats": %d, "seconds": %s, "seconds_all": [%s], "rate": %s, "least": %s, "most": %s, "lower": %s, "upper": %s, "unit": "tiles/s", "ceiling": %s, "ceiling_name": "smallest size, scaled", "ratio": %.3f, "busy_percent": %.0f, "job_seconds": %s, "provenance": {%s}}\n' \
      "$kind" "$ranks" "$tiles" "$repeats" "$seconds" "$(awk '{ printf "%s%s", (NR > 1 ? ", " : ""), $2 }' "$1/$kind-$ranks/results")" \
      "$rate" "$least" "$most" "$lower" "$upper" "$ideal" "$ratio" "$busy" "$wall" "$(cat "$1/$kind-$ranks/provenance")"
  done <<<"$rows"
  return $rc
}

table() {
  local rows rc; rows=$(columns "$1"); rc=$?
  [ $rc = 0 ] || [ $rc = 3 ] || return $rc
  awk 'BEGIN { printf "%-7s %6s %10s %5s %10s %12s %12s %12s %12s %11s %7s\n", "case", "ranks", "tiles", "runs", "seconds", "tiles/s", "slowest", "fastest", "ideal", "efficiency", "busy %" }
    { printf "%-7s %6d %10d %5d %10.2f %12.2f %12.2f %12.2f %12.2f %11.3f %7d\n", $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 }' <<<"$rows"
  return $rc
}

# Two panels, ranks in doublings: rate over the smallest size's (both axes logarithmic, dashed: ideal), and efficiency
# with the slowest and the fastest run.
plot() { # DIR FILE
  local rows; rows=$(columns "$1") || [ $? = 3 ] || return 1
  awk '
    NF { n++; kind[n] = $1; ranks[n] = $2; rate[n] = $6; ideal[n] = $9; eff[n] = $10; least[n] = $7 / $9; most[n] = $8 / $9; if (n == 1 || $2 < low) low = $2; if ($2 > high) high = $2 }
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
          printf "<path d=\"M%.1f %.1fV%.1f\" stroke=\"%s\"/>\n", px + 410, 340 - 280 * least[i], 340 - 280 * most[i], colour[k]
          printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/><circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", px, y(rate[i] / base), colour[k], px + 410, 340 - 280 * eff[i], colour[k]
        }
        if (a == "") continue
        printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/><path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", a, colour[k], b, colour[k]
        printf "<path d=\"M%d 405h24\" stroke=\"%s\" stroke-width=\"2\"/>", 60 + 130 * row, colour[k]; label(90 + 130 * row++, 409, "start", k)
      }
      label(250 + 60, 409, "start", "dashed: ideal")
      print "</svg>"
    }' <<<"$rows" >"$2" || { echo "scaling: nothing to plot in $1" >&2; return 1; }
}

case ${1:-} in
  submit) shift; submit "$@" ;;
  one) shift; one "$@" ;;
  gather) gather "${2?"gather needs the folder of the sweep"}" ;;
  table) table "${2?"table needs the folder of the sweep"}" ;;
  plot) plot "${2?"plot needs the folder of the sweep"}" "${3?"plot needs a file to write"}" ;;
  *) usage ;;
esac
