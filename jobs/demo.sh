#!/bin/bash
# From nothing to a report: installs what is missing, builds, makes the demo cohort, runs the whole job under mpirun.
# usage: jobs/demo.sh [--no-install] [--ranks N] [DIR]      (DIR: where the cohort goes; default ./demo)
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
install= ranks=$(nproc) dir=$PWD/demo
while [ $# -gt 0 ]; do
  case $1 in
    --no-install) install=--no-install ;;
    --ranks) ranks=$2; shift ;;
    -h|--help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
    -*) echo "demo: unknown option $1 (see --help)" >&2; exit 2 ;;
    *) dir=$1 ;;
  esac
  shift
done

bash "$here/jobs/bootstrap.sh" $install
build=${LOB_BUILD:-$here/build}
cmake -S "$here" -B "$build" -G Ninja -DLOB_TESTS=OFF >"$here/.build.log" 2>&1 && cmake --build "$build" >>"$here/.build.log" 2>&1 ||
  { tail -30 "$here/.build.log" >&2; exit 1; }
rm -f "$here/.build.log"
. "$here/jobs/launch.sh"

echo "demo: drawing the cohort in $dir"
launch "$ranks" "$build/lobule" demo "$dir"
echo "demo: running the study"
rc=0
launch "$ranks" "$build/lobule" run "$dir/study.yaml" || rc=$?
[ $rc = 0 ] || [ $rc = 3 ] || exit $rc
echo "demo: the report is $dir/out/report.html"
exit $rc
