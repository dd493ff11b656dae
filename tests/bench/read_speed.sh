#!/bin/bash
# Two ratios of reading, for a quiet machine:
#   isolated readers over in-process OpenSlide, 224 px tiles of a 0.5 um/px slide           (bar 0.95)
#   one isolated reader over Python's read_region(448) and Pillow's resize, 0.25 um/px slide (bar 1.5)
# usage: read_speed.sh BUILD SLIDES [ROUNDS]      SLIDES: folder with CMU-1-Small-Region.svs
# Needs python3-openslide (Debian) for the second; PYTHONPATH is honoured.
set -euo pipefail
build=$1 slides=$2 rounds=${3:-5}
here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program=$(find "$build" -name read_speed -type f -perm -u+x -print -quit)
for mpp in 0.25 0.5; do
    python3 "$here/make_slide.py" "$slides/CMU-1-Small-Region.svs" "$work/$mpp.svs" 24 24 $mpp aperio
    "$program" "$work/$mpp.svs" "$rounds" >"$work/$mpp.json"
done
median() { # CASE FILE
    sed -n "s/.*\"case\":\"$1\".*\"rate\":\([0-9.]*\).*/\1/p" "$2" | sort -g | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'
}
tell() { awk -v what="$1" -v a="$2" -v b="$3" 'BEGIN { printf "%s: %.1f over %.1f tiles/s, ratio %.2f\n", what, a, b, a / b }'; }
tell "isolated over OpenSlide in process, 0.5 um/px" "$(median isolated "$work/0.5.json")" "$(median openslide "$work/0.5.json")"
tell "isolated over OpenSlide in process, 0.25 um/px" "$(median isolated "$work/0.25.json")" "$(median openslide "$work/0.25.json")"
python=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import openslide, PIL' 2>/dev/null; then python=$candidate && break; fi
done
[[ -n $python ]] || { echo "skipped: no python3 with openslide and PIL (Debian: python3-openslide)"; exit 0; }
other=$("$python" "$here/read_python.py" "$work/0.25.svs" "$rounds")
tell "isolated over Python and Pillow, 0.25 um/px" "$(median isolated "$work/0.25.json")" "$other"
