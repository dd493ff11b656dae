#!/bin/bash
# The store written by 1, 2 and 3 ranks holds the same bytes; rows survive SIGKILL of all ranks; the part is
# then continued by another run. With the argument bench: speed against plain MPI-IO, one JSON line.
set -eu
trap 'echo "store_mpi: failed at line $LINENO" >&2' ERR
program=${STORE_MPI:-${LOB_BINARY_DIR:?}/tests/store_mpi}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
if ! command -v mpirun >/dev/null; then
    echo "store_mpi: skipped, there is no mpirun"
    exit 77
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/lob-store-mpi.XXXXXX")
trap 'rm -rf "$work"' EXIT
ranks() {
    local n=$1
    shift
    mpirun --oversubscribe -n "$n" "$program" "$@"
}

if [ "${1:-}" = bench ]; then
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

modules=ompio
if ompi_info 2>/dev/null | grep -q 'MCA io: romio'; then
    modules="ompio $(ompi_info | sed -n 's/.*MCA io: \(romio[0-9]*\).*/\1/p' | head -n 1)"
fi
for module in $modules; do
    export OMPI_MCA_io=$module
    if ranks 2 die "$work/$module.h5" 2>"$work/err"; then
        echo "store_mpi: the killed job ended well?" >&2
        exit 1
    fi
    "$program" half "$work/$module.h5" 2
    # mpirun may lose the last words of ranks that it kills, so the message is looked for without it.
    if ranks 2 write "$work/$module.h5" 2>"$work/err" || "$program" write "$work/$module.h5" 2>"$work/err"; then
        echo "store_mpi: an existing part was overwritten" >&2
        exit 1
    fi
    grep "exists already" "$work/err"
    ranks 2 resume "$work/$module.h5"
    "$program" check "$work/$module.h5"
    cmp "$work/one.h5" "$work/$module.h5"
done
echo "store_mpi: passed"
