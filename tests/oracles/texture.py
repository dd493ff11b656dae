#!/usr/bin/env python3
"""Goldens of tests/unit/encoder_texture.c: co-occurrence and local binary patterns by their textbook definitions.

The image is the test's own: v = (x * x / 7 + 3 * y + (x ^ y)) mod 16 on 48 x 48, and its float twin v / 16.
Needs numpy. Prints C initialisers.
"""
import numpy as np

SIZE, LEVELS = 48, 16
y, x = np.mgrid[:SIZE, :SIZE]
grey = (x * x // 7 + 3 * y + (x ^ y)) % LEVELS


def glcm(distance):
    table = np.zeros((LEVELS, LEVELS))
    for dy, dx in [(0, distance), (distance, distance), (distance, 0), (distance, -distance)]:
        for i in range(SIZE):
            for j in range(SIZE):
                if 0 <= i + dy < SIZE and 0 <= j + dx < SIZE:
                    table[grey[i, j], grey[i + dy, j + dx]] += 1
    table += table.T
    p = table / table.sum()
    i, j = np.mgrid[:LEVELS, :LEVELS]
    mean = (i * p).sum()
    variance = ((i - mean) ** 2 * p).sum()
    return (((i - j) ** 2 * p).sum(), ((i - mean) * (j - mean) * p).sum() / variance,
            np.sqrt((p ** 2).sum()), (p / (1 + (i - j) ** 2)).sum())


def lbp(radius, tolerance):
    diagonal = max(1, int(np.floor(radius * np.sqrt(0.5) + 0.5)))
    circle = [(0, radius), (diagonal, diagonal), (radius, 0), (diagonal, -diagonal),
              (0, -radius), (-diagonal, -diagonal), (-radius, 0), (-diagonal, diagonal)]
    plane = (grey / LEVELS).astype(np.float32)
    histogram = np.zeros(10)
    for i in range(radius, SIZE - radius):
        for j in range(radius, SIZE - radius):
            bits = [plane[i + a, j + b] > plane[i, j] + np.float32(tolerance) for a, b in circle]
            changes = sum(bits[k] != bits[k - 1] for k in range(8))
            histogram[sum(bits) if changes <= 2 else 9] += 1
    return histogram / histogram.sum()


for d in (1, 2, 8):
    print("glcm", d, "{" + ", ".join(f"{v:.9g}" for v in glcm(d)) + "}")
for r, tol in ((1, 0.0), (2, 0.1)):
    print("lbp", r, tol, "{" + ", ".join(f"{v:.9g}" for v in lbp(r, tol)) + "}")
