#!/bin/bash
# lobule store: what it prints, its exit codes, round trips through other tools' files, a damaged store, a disk
# that is full.
set -eu
lobule=${LOBULE:?}
program=${STORE_MPI:-${LOB_BINARY_DIR:?}/tests/store_mpi}
work=$(mktemp -d "${TMPDIR:-/tmp}/lob-store-cli.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "store_cli: $*" >&2
    exit 1
}
# expect CODE TEXT COMMAND...: the exit code, and a text on standard error
expect() {
    local wanted=$1 text=$2 code=0
    shift 2
    "$@" >out 2>err || code=$?
    [ "$code" = "$wanted" ] || fail "'$*' ended with $code, not $wanted: $(cat err)"
    [ -z "$text" ] || grep -qF -- "$text" err || fail "'$*' does not say '$text': $(cat err)"
}

mkdir -p run/store
"$program" write run/store/part-0001.h5
expect 0 "finished, encoder test, 64 x float16" "$lobule" store ls run
[ "$(wc -l <out)" = 13 ] || fail "ls lists $(wc -l <out) lines"
grep -qP '^s3\ts3\teast\tdone\t151\t151\t0\t0.5000\t' out || fail "ls does not list slide s3"
expect 0 "" "$lobule" store ls --json run/store/part-0001.h5
grep -q '"tiles_done": 151' out || fail "ls --json does not tell tiles_done"
expect 0 "all well" "$lobule" store verify run

{
    echo slide_id,patient_id,center,mpp
    for i in $(seq 0 11); do echo "s$i,s$i,$([ $((i % 2)) = 0 ] && echo west || echo east),0.5"; done
} >slides.csv
for format in trident clam stamp; do
    expect 0 "12 slides written" "$lobule" store export run --format $format --to "$format"
    expect 2 "exists already" "$lobule" store export run --format $format --to "$format"
    options=(--slides slides.csv --float16)
    if [ $format = clam ]; then
        expect 2 "give --encoder" "$lobule" store import clam --to clam.h5 "${options[@]}"
        [ ! -e clam.h5 ] || fail "a refused import left a file"
        options+=(--encoder test --tile-size 224 --tile-mpp 0.5)
    fi
    expect 0 "12 slides, 2361 tiles" "$lobule" store import $format --to $format.h5 "${options[@]}"
    expect 0 "all well" "$lobule" store verify $format.h5
done
[ -s clam/pt_files/s3.pt ] || fail "CLAM's pt_files are missing"
for format in clam stamp; do # three ways, one content
    h5diff trident.h5 $format.h5 /features
    h5diff trident.h5 $format.h5 /coords
    h5diff trident.h5 $format.h5 /slides
done

cp run/store/part-0001.h5 damaged.h5
offset=$(($(stat -c %s damaged.h5) - 1000))
printf '\xff' | dd of=damaged.h5 bs=1 seek=$offset conv=notrunc status=none
expect 1 "1 damaged range" "$lobule" store verify damaged.h5
grep -qP '^damaged.h5\ts11\t' out || fail "the damaged slide is not named: $(cat out)"
head -c 5000 damaged.h5 >cut.h5
expect 2 "cut.h5: not a readable HDF5 file" "$lobule" store verify cut.h5
expect 2 "no such file" "$lobule" store ls nowhere
expect 2 "nothing is named" "$lobule" store probe
for file in nowhere.h5 slides.csv; do
    code=0 && "$lobule" store probe "$file" >probed || code=$?
    [ "$code" = 2 ] && grep -qF "$file" probed || fail "store probe $file: exit code $code, $(cat probed)"
done
expect 2 "no such verb: frobnicate" "$lobule" store frobnicate
expect 2 "no such format: zarr" "$lobule" store export run --format zarr --to x

mkdir full
if mount -t tmpfs -o size=200k tmpfs full 2>/dev/null; then
    trap 'umount "$work/full"; rm -rf "$work"' EXIT
    expect 1 "No space left on device" "$program" write full/part.h5
    expect 1 "No space left on device" "$lobule" store import trident --to full/other.h5 --slides slides.csv
    [ ! -e full/other.h5 ] || fail "a failed import left a file"
else
    echo "store_cli: partly skipped: the full disk (no right to mount a tmpfs)"
fi
echo "store_cli: passed"
