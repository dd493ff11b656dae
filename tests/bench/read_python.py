#!/usr/bin/env python3
"""Tiles a second of the usual Python way: OpenSlide's read_region of 448 px at level 0, RGB, Pillow's BILINEAR to 224.

usage: read_python.py SLIDE ROUNDS        prints the median rate over ROUNDS passes; needs openslide-python and Pillow
"""
import statistics
import sys
import time

import openslide
from PIL import Image

BILINEAR = getattr(Image, "Resampling", Image).BILINEAR


def once(path):
    slide = openslide.OpenSlide(path)
    width, height = slide.dimensions
    start, tiles = time.perf_counter(), 0
    for y in range(0, height - 447, 448):
        for x in range(0, width - 447, 448):
            slide.read_region((x, y), 0, (448, 448)).convert("RGB").resize((224, 224), BILINEAR)
            tiles += 1
    return tiles / (time.perf_counter() - start)


print(f"{statistics.median(once(sys.argv[1]) for _ in range(int(sys.argv[2]))):.1f}")
