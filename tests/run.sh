#!/bin/bash
# Sets up, builds and passes the tests.   usage: tests/run.sh [--no-install] [--asan] [--only REGEX]
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
install= preset=release only=.
while [ $# -gt 0 ]; do
  case $1 in
    --no-install) install=--no-install ;;
    --asan) preset=asan ;;
    --only) only=$2; shift ;;
    -h|--help) sed -n '2s/^# //p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
  shift
done
# Under CI nothing may be left out that can be had: what tests compare with is installed, too.
oracles=; [ "${CI:-}" != true ] || oracles=--oracles
bash "$here/jobs/bootstrap.sh" $install --tests --slurm $oracles
cd "$here"
# A build folder that was made for the program alone gets its tests here.
cmake --preset $preset -DLOB_TESTS=ON >/dev/null
build=$here/build; [ $preset = release ] || build=$here/build-$preset
cmake --build "$build"
bash tests/lint.sh
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_rmaps_base_oversubscribe=1
log=$(mktemp)
scratch=$(mktemp -d -t lob.XXXXXX)
(cd "$build" && TMPDIR=$scratch ctest -j2 --output-on-failure -R "$only" --no-tests=error) | tee "$log"
rc=${PIPESTATUS[0]} # of ctest, not of tee
# A test that could not run says why. Under CI that is a failure too, unless what it needs is not to be had here.
allowed=none
absent=$(bash jobs/bootstrap.sh --no-install --oracles 2>&1 | sed -n 's/^  oracle: \([^:]*\): .*/\1/p')
may_skip() { allowed+="|$2"; echo "run.sh: without $1: $2 may be skipped"; }
[ -d "${LOB_SHARED:-$here/../shared}/data" ] || may_skip "the real slides" 'embed_.*|encoder_vit|tissue_opencv'
[[ $absent != *OpenCV* ]] || may_skip OpenCV tissue_opencv
[[ $absent != *PyTorch* ]] || may_skip PyTorch encoder_vit
[[ $absent != *"R survival"* ]] || may_skip "R's survival" 'stats_colon|report_page'
[[ $absent != *Chromium* ]] || may_skip Chromium report_page
skipped=$(sed -n 's/^.*[0-9]* - \([a-z0-9_]*\) (Skipped)$/\1/p' "$log")
if [ -n "$skipped" ]; then
  echo "run.sh: skipped, each says why with ctest -V:" $skipped
  if [ "${CI:-}" = true ] && grep -vxE "(integration_)?($allowed)" <<<"$skipped"; then
    echo "run.sh: under CI these had to run" >&2
    rc=1
  fi
fi
# Parts that a passing test left out: for want of a right that root has here, or of something this machine cannot do at all.
partly=$(sed -n 's/^\([a-z_.]*: partly skipped.*\)$/\1/p' "$build/Testing/Temporary/LastTest.log")
if [ -n "$partly" ]; then
  printf 'run.sh: partly skipped, %d:\n%s\n' "$(wc -l <<<"$partly")" "$partly"
  if [ "${CI:-}" = true ] && unshare --mount mount -t tmpfs tmpfs /mnt 2>/dev/null && grep ': partly skipped:' <<<"$partly" >/dev/null; then
    echo "run.sh: under CI, with the right to mount, these had to run" >&2
    rc=1
  fi
fi
rm -f "$log"
left=$(cd "$scratch" && find . -maxdepth 2 -mindepth 1)
rm -rf "$scratch"
if [ -n "$left" ]; then
  printf 'run.sh: left behind in the temporary directory:\n%s\n' "$left" >&2
  rc=1
fi
exit $rc
