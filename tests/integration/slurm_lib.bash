# Sourced by the Slurm tests: a private Slurm of three virtual nodes, a cohort, and waiting for jobs.
. "$(dirname "$0")/cohort_lib.bash"
skip() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "a Slurm of virtual nodes needs root"
PATH=$PATH:/usr/sbin:/sbin
for tool in slurmctld slurmd munged sbatch unshare nsenter ip; do
  command -v $tool >/dev/null || skip "$tool is missing (Debian: slurm-wlm munge iproute2 util-linux)"
done
unshare --mount --uts --pid --net --fork true 2>/dev/null || skip "this machine lets root make no namespaces"

nodes=3
base=$work/c
cluster() { bash "$LOB_SOURCE/slurm/local-cluster.sh" "$1" "$base" "${@:2}"; }
trap 'cluster down >/dev/null 2>&1; rm -rf "$work"' EXIT
draw_cohort
cluster up $nodes 2 >"$work/up.log" 2>&1 || { cat "$work/up.log"; skip "the virtual nodes do not come up here"; }
export LOBULE
# Ranks share few cores in a test: they must not be pinned to the same one, nor poll for each other.
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1

slurm() { cluster sh "$@"; }
submit() { # LOG [sbatch options] -- [options of lobule]: prints the job's number
  local log=$1 options=(); shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  slurm sbatch --parsable --chdir="$work" -o "$log" "${options[@]}" "$LOB_SOURCE/slurm/lobule.sbatch" "$study" "$@"
}
field() { # JOB NAME, e.g. JobState
  slurm scontrol -o show job "$1" 2>/dev/null | sed -n "s/.* $2=\([^ ]*\).*/\1/p"
}
await() { # SECONDS COMMAND...: until it succeeds
  local end=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done
}
over() { case $(field "$1" JobState) in COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|PREEMPTED|OUT_OF_MEMORY) ;; *) false ;; esac; }
has_ranges() { [ "$(ranges "$1")" -ge "$2" ]; }
# After a job that had to complete: its state, its exit code, its store.
check_job() { # WHAT JOB OUT LOG
  if ! await 150 over "$2"; then
    fail "$1: still $(field "$2" JobState) ($(field "$2" Reason)) after 150 s"; tail -20 "$4"; return
  fi
  expect "$1: state" COMPLETED "$(field "$2" JobState)"
  expect "$1: exit code" 0:0 "$(field "$2" ExitCode)"
  expect "$1: store" "$(cat "$cohort/calm")" "$(digest "$3")"
  expect "$1: slides given up" 0 "$(quarantined "$3")"
  [ -s "$3/report.html" ] || fail "$1: no report"
  [ "$(field "$2" JobState)" = COMPLETED ] || tail -20 "$4"
}
