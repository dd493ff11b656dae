#!/usr/bin/env python3
"""Goldens of tests/unit/encoder_transform.c: Pillow's resize on 200 random sizes, as SHA-256 beginnings.

The picture is made by the formula of the test. Needs numpy and Pillow; prints tests/unit/encoder_resize_golden.h.
"""
import hashlib

import numpy as np
from PIL import Image


def picture(width, height):
    y, x, c = np.mgrid[:height, :width, :3].astype(np.uint32)
    value = (x * np.uint32(2654435761) ^ y * np.uint32(2246822519) ^ c * np.uint32(3266489917)) & np.uint32(0xffffffff)
    value ^= value >> np.uint32(15)
    value = (value * np.uint32(2246822519)) & np.uint32(0xffffffff)
    value ^= value >> np.uint32(13)
    noise = value & np.uint32(255)
    smooth = (x * 3 + y * 2 + c * 40) & np.uint32(255)
    return np.where((x // 16 + y // 16) % 2 == 0, noise, smooth).astype(np.uint8)


random = np.random.RandomState(11)
print("/* Made by tests/oracles/resize_pillow.py with Pillow", Image.__version__, "*/")
for name, kernel in (("BILINEAR", Image.BILINEAR), ("BICUBIC", Image.BICUBIC)):
    for direction in ("down", "up"):
        for _ in range(50):
            small, large = random.randint(1, 160, 2), random.randint(1, 200, 2)
            a, b = small, small + large
            (w, h), (u, v) = (b, a) if direction == "down" else (a, b)
            out = Image.fromarray(picture(w, h)).resize((u, v), kernel)
            digest = hashlib.sha256(out.tobytes()).hexdigest()[:16]
            print(f'{{LOB_FILTER_{name}, {w}, {h}, {u}, {v}, "{digest}"}},')
