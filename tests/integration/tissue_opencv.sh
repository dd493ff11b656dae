#!/usr/bin/env bash
# Tissue masks of the real slides agree with the same recipe in OpenCV: intersection over union at least 0.98.
set -euo pipefail

slides=${LOB_SHARED:-$LOB_SOURCE/../shared}/data/slides
oracle=$LOB_SOURCE/tests/oracles/tissue_opencv.py
masks=$(find "$LOB_BINARY_DIR" -name tissue_masks -type f -perm -u+x -print -quit)
python=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import cv2' 2>/dev/null; then python=$candidate && break; fi
done
[[ -n $python ]] || { echo "skipped: no python3 with cv2 (Debian: python3-opencv)"; exit 77; }
[[ -d $slides ]] || { echo "skipped: $slides is not there (set LOB_SHARED)"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compare() { # method, slide, mpp (0: the file's own)
    read -r um_x um_y < <("$masks" "$1" "$slides/$2" "$3" "$work/overview.png" "$work/mask.png")
    "$python" "$oracle" "$1" "$work/overview.png" "$um_x" "$um_y" "$work/opencv.png"
    iou=$("$python" "$oracle" iou "$work/mask.png" "$work/opencv.png")
    echo "$1 $2: IoU $iou"
    awk -v iou="$iou" 'BEGIN { exit !(iou >= 0.98) }'
}
for method in otsu hsv; do
    compare "$method" CMU-1-Small-Region.svs 0
    compare "$method" TCGA-CR-7395-01A-01-TS1.svs 0.25
    compare "$method" TCGA-CR-7395-01A-01-TS1.svs 2
done
