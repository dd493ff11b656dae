#!/bin/sh
# The store written by 1, 2 and 3 ranks holds the same bytes; rows survive SIGKILL of all ranks; the part is
# then continued by another number of ranks. Usage: store_mpi.sh PATH-TO-store_mpi [bench]
set -eu
program=$1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
work=$(mktemp -d "${TMPDIR:-/tmp}/lob-store-mpi.XXXXXX")
trap 'rm -rf "$work"' EXIT
ranks() { n=$1; shift; mpirun --oversubscribe -n "$n" "$program" "$@"; }

if [ "${2:-}" = bench ]; then
    ranks 2 bench "$work/bench.h5"
    exit 0
fi

"$program" write "$work/one.h5"
"$program" check "$work/one.h5"
for n in 1 2 3; do
    ranks "$n" write "$work/$n.h5"
    "$program" check "$work/$n.h5"
    cmp "$work/one.h5" "$work/$n.h5"
done

for module in ompio romio321; do
    export OMPI_MCA_io=$module
    if ranks 2 die "$work/$module.h5" 2>"$work/err"; then
        echo "store_mpi: the killed job ended well?" >&2
        exit 1
    fi
    "$program" half "$work/$module.h5" 2
    if ranks 2 write "$work/$module.h5" 2>"$work/err"; then
        echo "store_mpi: an existing part was overwritten" >&2
        exit 1
    fi
    grep -q "exists already" "$work/err"
    ranks 2 resume "$work/$module.h5"
    "$program" check "$work/$module.h5"
    cmp "$work/one.h5" "$work/$module.h5"
done
echo "store_mpi: passed"
