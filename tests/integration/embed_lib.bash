# Sourced by the embed tests: a study over the real slides, launching, and what of a store must not change.
. "$(dirname "${BASH_SOURCE[0]}")/expect_lib.bash"
DATA=${LOB_SHARED:-$LOB_SOURCE/../shared}/data
[ -d "$DATA/slides" ] || { echo "skipped: the real slides are not there ($DATA/slides; set LOB_SHARED)"; exit 77; }
DATA=$(cd "$DATA" && pwd)
command -v h5dump >/dev/null || { echo "skipped: h5dump (hdf5-tools) is missing"; exit 77; }

# study DIR COPIES [broken]: COPIES times the two usable real slides under different ids, plus all the bad ones.
study() {
  local dir=$1 copies=$2 i
  mkdir -p "$dir"
  {
    echo slide_id,patient_id,center,path,mpp
    for i in $(seq -w "$copies"); do
      echo "cmu-$i,p$i,A,$DATA/slides/CMU-1-Small-Region.svs,"
      echo "tcga-$i,q$i,B,$DATA/slides/TCGA-CR-7395-01A-01-TS1.svs,0.25"
    done
    if [ "${3:-}" = broken ]; then
      echo "nompp,q1,B,$DATA/slides/TCGA-CR-7395-01A-01-TS1.svs,"
      for i in "$DATA"/broken/*; do echo "broken-$(basename "${i%.*}"),p1,A,$i,0.5"; done
    fi
  } >"$dir/slides.csv"
  sed -i "s/,p1,A/,p$(seq -w "$copies" | head -1),A/; s/,q1,B/,q$(seq -w "$copies" | head -1),B/" "$dir/slides.csv"
  {
    echo patient_id,center,days,event
    for i in $(seq -w "$copies"); do printf 'p%s,A,%d,1\nq%s,B,%d,1\n' "$i" $((10#$i + 100)) "$i" $((10#$i + 90)); done
  } >"$dir/patients.csv"
  cat >"$dir/study.yaml" <<Y
study: real-slides
cohort: {slides: slides.csv, patients: patients.csv}
endpoints:
  - {name: rfs, kind: survival, time: days, event: event}
output: out
Y
}

# The contents that must be the same however the work was done. Seconds and CPU type are not among them.
digest() {
  local d
  [ -e "$1" ] || { echo "no file $1"; return; }
  for d in features coords tissue quality/pen quality/fold quality/blur quality/overexposed slides/state slides/crc32c \
    slides/unreadable slides/quality_crc32c slides/hema_red slides/eosin_strength; do
    rm -f "$work/digest.bin"
    h5dump -d "/$d" -b FILE -o "$work/digest.bin" "$1" >/dev/null 2>&1
    if [ -s "$work/digest.bin" ]; then sha256sum <"$work/digest.bin"; else echo "/$d of $1 is empty"; fi
  done | cat - <(h5dump -d /slides/slide_id "$1" | tail -n +2) | sha256sum | cut -c1-16
}

run() { # RANKS DIR STAGE [options]: runs a stage, output to DIR/log
  local ranks=$1 dir=$2 stage=$3; shift 3
  launch "$ranks" "$LOBULE" "$stage" "$@" "$dir/study.yaml" >>"$dir/log" 2>&1
}

# begin RANKS DIR: starts embed in the background; `job` is its pid, `mpirun` the launcher's (with ranks > 1).
begin() { stage_begin "$1" "$2" embed; }
stage_begin() { # RANKS DIR STAGE
  launch "$1" "$LOBULE" "$3" "$2/study.yaml" >>"$2/log" 2>&1 &
  job=$!
  mpirun=
  [ "$1" -le 1 ] || until mpirun=$(pgrep -P $job -x mpirun) || ! kill -0 $job 2>/dev/null; do sleep 0.02; done
}
rank_pid() { # RANK
  local p
  for p in $(pgrep -P "$mpirun"); do
    tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$p"
  done
}
journalled() { cat "$1/out/store/part-0001.journal" 2>/dev/null | grep -c '^range' || true; }
# Waits until at least N ranges are journalled or the job is over.
await_ranges() { # N DIR
  while kill -0 $job 2>/dev/null && [ "$(journalled "$2")" -lt "$1" ]; do sleep 0.02; done
}
# No process that worked in this folder is left (readers, zygotes).
leftovers() { pgrep -f -c "$LOBULE.*$work" || true; }
