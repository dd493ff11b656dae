#!/usr/bin/env python3
"""Goldens of tests/unit/tissue_quality.c and tissue_stain.c: OpenCV's variance of the Laplacian, Macenko and Reinhard.

The pictures are made by the formulas of the tests. Needs numpy and OpenCV (Debian: python3-opencv); prints
tests/unit/tissue_golden.h.
"""
import cv2
import numpy as np

HE_REF = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
MAX_REF = np.array([1.9705, 1.0308])
MU = np.array([8.74108109, -0.12440419, 0.0444982])
SIGMA = np.array([0.6135447, 0.10989545, 0.0286032])
LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
LAB = np.diag([1 / np.sqrt(3), 1 / np.sqrt(6), 1 / np.sqrt(2)]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])


def numbers(seed):
    while True:
        seed = (seed * 1664525 + 1013904223) % 2**32
        yield seed >> 16 & 255


def noise(size, radius):
    """Noise averaged over squares cut at the border, in whole numbers."""
    source = numbers(7)
    picture = np.array([next(source) for _ in range(size * size * 3)]).reshape(size, size, 3)
    out = np.empty((size, size, 3), np.uint8)
    for y in range(size):
        for x in range(size):
            part = picture[max(y - radius, 0):y + radius + 1, max(x - radius, 0):x + radius + 1]
            out[y, x] = part.sum(axis=(0, 1)) // (part.shape[0] * part.shape[1])
    return out


def stained(n):
    """Pixels of two stains, every eighth one glass."""
    source = numbers(11)
    hema, eosin = np.array([0.65, 0.70, 0.29]), np.array([0.18, 0.93, 0.31])
    out = []
    for i in range(n):
        h, e = next(source) / 255, next(source) / 255
        density = 1.6 * h * h * hema + (0.2 + 0.8 * e) * eosin if i % 8 else np.zeros(3)
        out.append(np.floor(240 * np.exp(-density) + 0.5))
    return np.array(out)


def estimate(rgb):
    density = -np.log((rgb + 1) / 240)
    tissue = density[(density >= 0.15).all(axis=1)]
    _, vectors = np.linalg.eigh(np.cov(tissue.T))
    plane = vectors[:, [2, 1]]
    if plane[:, 0].sum() < 0:
        plane[:, 0] *= -1
    along = tissue @ plane
    angles = np.percentile(np.arctan2(along[:, 1], along[:, 0]), [1, 99])
    found = [plane @ np.array([np.cos(a), np.sin(a)]) for a in angles]
    found.sort(key=lambda v: -v[0])
    stains = np.array(found).T
    concentration = np.linalg.lstsq(stains, tissue.T, rcond=None)[0]
    strength = np.percentile(concentration, 99, axis=1)
    lab = np.log(rgb[(density >= 0.15).any(axis=1)] @ LMS.T) @ LAB.T
    return stains, strength, lab.mean(axis=0), lab.std(axis=0)


def macenko(rgb, stains, strength):
    density = -np.log((rgb + 1) / 240)
    concentration = np.linalg.lstsq(stains, density.T, rcond=None)[0] * (MAX_REF / strength)[:, None]
    return np.clip(240 * np.exp(-(HE_REF @ concentration)).T - 1, 0, 255)


def reinhard(rgb, mean, deviation):
    lab = np.log(np.maximum(rgb @ LMS.T, 1)) @ LAB.T
    back = np.exp(((lab - mean) / deviation * SIGMA + MU) @ LAB) @ np.linalg.inv(LMS).T
    share = np.clip(-np.log((rgb.min(axis=1) + 1) / 240) / 0.15, 0, 1)[:, None]
    return np.clip(rgb + share * (back - rgb), 0, 255)


def table(name, values, form):
    print(f"static const double {name}[] = {{{', '.join(form % v for v in np.ravel(values))}}};")


print("/* Made by tests/oracles/tile_quality.py with OpenCV", cv2.__version__, "and numpy", np.__version__, "*/")
print("/* clang-format off */")
table("golden_laplacian", [cv2.Laplacian(cv2.cvtColor(noise(48, r), cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()
                           for r in (0, 1, 2, 4, 8)], "%.9g")
picture = stained(6000)
stains, strength, mean, deviation = estimate(picture)
table("golden_hema", stains[:, 0], "%.12g")
table("golden_eosin", stains[:, 1], "%.12g")
table("golden_strength", strength, "%.12g")
table("golden_mean", mean, "%.12g")
table("golden_sd", deviation, "%.12g")
table("golden_macenko", macenko(picture[:40], stains, strength), "%.4f")
table("golden_reinhard", reinhard(picture[:40], mean, deviation), "%.4f")
