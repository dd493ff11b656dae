#!/usr/bin/env python3
"""The recipe of src/tissue/mask.c in OpenCV: overview.png -> mask.png.

usage: tissue_opencv.py otsu|hsv OVERVIEW.png UM_X UM_Y MASK.png      (UM_X, UM_Y: um per pixel of the overview)
       tissue_opencv.py iou MASK.png OTHER.png                        (prints intersection over union)
Needs Debian's python3-opencv.
"""
import math
import sys

import cv2
import numpy as np

# lob_tissue_defaults
MEDIAN_UM, CLOSE_UM, MIN_OBJECT_UM2, MIN_HOLE_UM2 = 56, 40, 40000, 20000


def threshold(channel, method):
    if method == "hsv":
        return 8
    level, _ = cv2.threshold(channel, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    above, below = channel[channel > level], channel[channel <= level]
    if above.size == 0 or below.size == 0 or above.mean() - below.mean() < 8:
        return -1 if channel.mean() >= 30 else 255
    return min(max(level, 10), 30)


def disc(diameter):
    radius = diameter / 2
    half = int(radius)
    y, x = np.mgrid[-half:half + 1, -half:half + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)


def clean(mask, min_object, min_hole):
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    for i in range(1, n):
        if stats[i, cv2.CC_STAT_AREA] < min_object:
            mask[labels == i] = 0
    n, labels, stats, _ = cv2.connectedComponentsWithStats(255 - mask, connectivity=4)
    height, width = mask.shape
    for i in range(1, n):
        x, y, w, h, area = stats[i]
        if x > 0 and y > 0 and x + w < width and y + h < height and area < min_hole:
            mask[labels == i] = 255
    return mask


def tissue(method, image, um_x, um_y):
    um = math.sqrt(um_x * um_y)
    if method == "hsv":
        channel = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[:, :, 1]
    else:
        channel = image.max(axis=2) - image.min(axis=2)
    radius = int(MEDIAN_UM / um / 2)
    if radius > 0:
        channel = cv2.medianBlur(np.ascontiguousarray(channel), 2 * radius + 1)
    mask = np.where(channel.astype(int) > threshold(channel, method), 255, 0).astype(np.uint8)
    diameter = int(CLOSE_UM / um + 0.5)
    if diameter >= 2:
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc(diameter))
    return clean(mask, MIN_OBJECT_UM2 / (um_x * um_y), MIN_HOLE_UM2 / (um_x * um_y))


def main():
    if sys.argv[1] == "iou":
        a, b = (cv2.imread(name, cv2.IMREAD_GRAYSCALE) > 0 for name in sys.argv[2:4])
        union = np.logical_or(a, b).sum()
        print(f"{np.logical_and(a, b).sum() / union if union else 1:.5f}")
    else:
        method, source, um_x, um_y, target = sys.argv[1:6]
        cv2.imwrite(target, tissue(method, cv2.imread(source), float(um_x), float(um_y)))


main()
