#!/usr/bin/env python3
"""Which tiles CLAM's HSV presets, TRIDENT's Otsu and lobule take of the same slides, as a Markdown table.

All take tiles of 112 um (224 px at 0.5 um/px). empty tiles: less than a quarter of them is in lobule's Otsu mask.
mask IoU, tiled IoU: of tissue and of the area under tiles with lobule's Otsu. missed: share of lobule's Otsu mask
under no tile.

usage: tile_sets.py LOBULE SLIDE[=MPP]...      (MPP: where the slide states none)

The two recipes are written anew here with OpenCV, from their description:
  CLAM     HSV saturation of the pyramid level nearest to 1/64, median 7, > 8, closing by a square of 4; outlines
           above a_t, holes above a_h (units: 512^2 level-0 px), at most 8 holes; tiles on a grid from each
           outline's bounding box, kept where one of four points (centre +- a quarter) is inside and the centre is
           in no hole. Presets: default 8/7/4, a_t 100, a_h 16; tcga a_t 16, a_h 4.
  TRIDENT  blocks of 512 px at 8 um/px, black padding made white, grey and black made white, Otsu on luminance,
           pieces below 60 px dropped, Otsu again, holes below 5000 px filled; outlines on a mask of 2000 rows,
           above 1000 (with um/px of level 0 in the units), holes are tissue; grid from 0,0; any touch counts.
           Left out: the outlines' simplification by a quarter of a tile.
Needs python3-opencv, numpy and libopenslide (through ctypes).
"""
import ctypes
import ctypes.util
import json
import os
import subprocess
import sys
import tempfile

import cv2
import numpy as np

TILE_UM, TILE_MPP = 112.0, 0.5  # 224 px
RASTER_UM = 2.0                 # pixels in which areas are compared


class Slide:
    def __init__(self, path, mpp):
        self.lib = ctypes.CDLL(ctypes.util.find_library("openslide") or "libopenslide.so.0")
        self.lib.openslide_open.restype = ctypes.c_void_p
        self.lib.openslide_get_property_value.restype = ctypes.c_char_p
        self.lib.openslide_get_level_downsample.restype = ctypes.c_double
        self.handle = ctypes.c_void_p(self.lib.openslide_open(os.fsencode(path)))
        if not self.handle.value:
            sys.exit(f"{path}: not a slide")
        self.path, self.name = path, os.path.splitext(os.path.basename(path))[0]
        stated = self.lib.openslide_get_property_value(self.handle, b"openslide.mpp-x")
        self.mpp = mpp or float(stated or 0)
        if not self.mpp:
            sys.exit(f"{path}: states no mpp; give it as {path}=MPP")
        self.levels = self.lib.openslide_get_level_count(self.handle)
        self.width, self.height = self.size(0)

    def size(self, level):
        w, h = ctypes.c_int64(), ctypes.c_int64()
        self.lib.openslide_get_level_dimensions(self.handle, level, ctypes.byref(w), ctypes.byref(h))
        return w.value, h.value

    def downsample(self, level):
        return self.lib.openslide_get_level_downsample(self.handle, level)

    def best_level(self, downsample):
        return self.lib.openslide_get_best_level_for_downsample(self.handle, ctypes.c_double(downsample))

    def read(self, x, y, level, width, height):
        """RGB; what is outside the slide is black, as both tools' convert('RGB') makes it."""
        data = np.zeros((height, width), np.uint32)
        self.lib.openslide_read_region(self.handle, data.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(x),
                                       ctypes.c_int64(y), level, ctypes.c_int64(width), ctypes.c_int64(height))
        return np.dstack([(data >> 16) & 255, (data >> 8) & 255, data & 255]).astype(np.uint8)


# ---- CLAM ----

def clam_outlines(slide, a_t, a_h):
    level = slide.best_level(64)
    scale = slide.downsample(level)
    width, height = slide.size(level)
    saturation = cv2.cvtColor(slide.read(0, 0, level, width, height), cv2.COLOR_RGB2HSV)[:, :, 1]
    _, mask = cv2.threshold(cv2.medianBlur(np.ascontiguousarray(saturation), 7), 8, 255, cv2.THRESH_BINARY)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((4, 4), np.uint8))
    unit = int(512 * 512 / (scale * scale))
    found, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    kept = []
    for i, outline in enumerate(found):
        if tree[0][i][3] != -1:
            continue
        holes = [found[j] for j in range(len(found)) if tree[0][j][3] == i]
        if cv2.contourArea(outline) - sum(map(cv2.contourArea, holes)) > a_t * unit:
            holes = sorted(holes, key=cv2.contourArea, reverse=True)[:8]
            holes = [h for h in holes if cv2.contourArea(h) > a_h * unit]
            kept.append([(c * scale).astype(np.int32) for c in [outline] + holes])
    return kept, level


def clam_tiles(slide, outlines, side):
    tiles, quarter = set(), side // 4
    for outline, *holes in outlines:
        x0, y0, w, h = cv2.boundingRect(outline)
        for y in range(y0, y0 + h, side):
            for x in range(x0, x0 + w, side):
                cx, cy = x + side // 2, y + side // 2
                inside = any(cv2.pointPolygonTest(outline, (float(cx + dx), float(cy + dy)), False) >= 0
                             for dx in (-quarter, quarter) for dy in (-quarter, quarter))
                if inside and not any(cv2.pointPolygonTest(h, (float(cx), float(cy)), False) > 0 for h in holes):
                    tiles.add((x, y))
    return tiles


# ---- TRIDENT ----

def otsu(grey):
    counts, edges = np.histogram(grey.ravel(), bins=256)
    middle, counts = (edges[1:] + edges[:-1]) / 2, counts.astype(float)
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * middle) / np.maximum(below, 1)
    mean_above = (np.cumsum((counts * middle)[::-1]) / np.maximum(np.cumsum(counts[::-1]), 1))[::-1]
    return middle[np.argmax(below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2)]


def drop_small(mask, least):
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    return keep[labels]


def trident_block(rgb):
    grey_of = lambda image: image @ np.array([0.2125, 0.7154, 0.0721])
    rgb = rgb.copy()
    rgb[(rgb == 0).all(axis=2)] = 255
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    white = rgb.copy()
    white[(cv2.inRange(hsv, (0, 0, 70), (180, 10, 255)) | cv2.inRange(hsv, (0, 0, 0), (180, 255, 85))) > 0] = 255
    grey = grey_of(white)
    if grey.min() == grey.max():
        return np.zeros(grey.shape, bool)
    first = drop_small(grey < otsu(grey), 60)
    grey = grey_of(np.where(first[..., None], rgb, np.where(rgb > 0, 255, 0)))
    mask = grey < otsu(grey) if grey.min() < grey.max() else np.zeros(grey.shape, bool)
    return ~drop_small(~mask, 5000)


def trident_outlines(slide):
    factor = slide.mpp / 8
    width, height = round(slide.width * factor), round(slide.height * factor)
    mask, side = np.zeros((height, width), np.uint8), round(512 / factor)
    level = max(i for i in range(slide.levels) if slide.downsample(i) <= 1.1 / factor)
    size = round(side / int(slide.downsample(level)))
    for y in range(0, slide.height, side):
        for x in range(0, slide.width, side):
            tissue = trident_block(cv2.resize(slide.read(x, y, level, size, size), (512, 512)))
            left, top = round(x * factor), round(y * factor)
            part = mask[top:top + 512, left:left + 512]
            part |= tissue[:part.shape[0], :part.shape[1]].astype(np.uint8) * 255
    scale = 2000 / height
    mask = cv2.resize(mask, (round(width * scale), 2000))
    found, tree = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    kept = []
    for i, outline in enumerate(found):
        if tree[0][i][3] == -1:
            holes = sum(cv2.contourArea(found[j]) for j in range(len(found)) if tree[0][j][3] == i)
            if cv2.contourArea(outline) - holes > 1000:  # um/px of level 0 is on both sides
                kept.append([(outline / scale / factor).astype(np.int32)])
    return kept


def touched_tiles(slide, mask, side):
    scale, tiles = RASTER_UM / slide.mpp, set()
    for y in range(0, slide.height, side):
        for x in range(0, slide.width, side):
            part = mask[int(y / scale):max(int((y + side) / scale), int(y / scale) + 1),
                        int(x / scale):max(int((x + side) / scale), int(x / scale) + 1)]
            if part.any():
                tiles.add((x, y))
    return tiles


# ---- lobule ----

def lobule_sets(lobule, slide, method):
    with tempfile.TemporaryDirectory() as out:
        for command in ("masks", "grid"):
            subprocess.run([lobule, command, "--geojson", "--mpp", str(slide.mpp), "--method", method, "--output", out,
                            slide.path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        read = lambda ending: json.load(open(os.path.join(out, "masks", slide.name + ending)))["features"]
        outlines = [[np.array(ring, float).round().astype(np.int32)[:, None] for ring in f["geometry"]["coordinates"]]
                    for f in read(".geojson")]
        return outlines, {tuple(f["geometry"]["coordinates"][0][0]) for f in read(".grid.geojson")}


# ---- comparing ----

def raster(slide, outlines):
    scale = RASTER_UM / slide.mpp
    mask = np.zeros((int(slide.height / scale) + 1, int(slide.width / scale) + 1), np.uint8)
    for rings in outlines:
        one = np.zeros_like(mask)
        cv2.fillPoly(one, [(r / scale).astype(np.int32) for r in rings], 1)  # even-odd: holes are cut out
        mask |= one
    return mask


def covered(slide, tiles, side, shape):
    scale, mask = RASTER_UM / slide.mpp, np.zeros(shape, np.uint8)
    for x, y in tiles:
        mask[int(y / scale):int((y + side) / scale), int(x / scale):int((x + side) / scale)] = 1
    return mask


def iou(a, b):
    return (a & b).sum() / max((a | b).sum(), 1)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    print("| slide | recipe | tissue mm2 | tiles | tiles mm2 | empty tiles | mask IoU | tiled IoU | missed |")
    print("|---|---|---|---|---|---|---|---|---|")
    for argument in sys.argv[2:]:
        path, _, mpp = argument.partition("=")
        slide = Slide(path, float(mpp or 0))
        side = round(TILE_UM / slide.mpp)
        ours_outlines, ours_tiles = lobule_sets(sys.argv[1], slide, "otsu")
        ours = raster(slide, ours_outlines)
        ours_cover = covered(slide, ours_tiles, side, ours.shape)
        sets = [("lobule otsu", ours_outlines, ours_tiles)]
        sets.append(("lobule hsv",) + lobule_sets(sys.argv[1], slide, "hsv"))
        for name, a_t, a_h in (("CLAM default", 100, 16), ("CLAM tcga", 16, 4), ("CLAM without a_t, a_h", 0, 0)):
            outlines, level = clam_outlines(slide, a_t, a_h)
            sets.append((f"{name} (level {level})", outlines, clam_tiles(slide, outlines, side)))
        outlines = trident_outlines(slide)
        sets.append(("TRIDENT otsu", outlines, touched_tiles(slide, raster(slide, outlines), side)))
        area = RASTER_UM ** 2 / 1e6
        for name, outlines, tiles in sets:
            mask = raster(slide, outlines)
            cover = covered(slide, tiles, side, ours.shape)
            empty = sum(covered(slide, [t], side, ours.shape)[ours > 0].sum() < 0.25 * (TILE_UM / RASTER_UM) ** 2 for t in tiles)
            print(f"| {slide.name} at {slide.mpp:g} | {name} | {mask.sum() * area:.3f} | {len(tiles)} | {cover.sum() * area:.3f} | "
                  f"{empty} | {iou(mask, ours):.3f} | {iou(cover, ours_cover):.3f} | {(ours & ~(cover > 0)).sum() / max(ours.sum(), 1):.3f} |")


if __name__ == "__main__":
    main()
