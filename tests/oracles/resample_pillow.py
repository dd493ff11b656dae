#!/usr/bin/env python3
"""Goldens of tests/unit/slide_resample.c: SHA-256 of Pillow's BILINEAR resizes of a computed picture.

Needs Debian's python3-pil. Prints one line a case, as the C table has them.
"""
import hashlib

from PIL import Image

CASES = [  # width, height, box (exact in 32 bits, as Pillow takes it), output width, output height
    (37, 29, (0, 0, 37, 29), 16, 12),
    (50, 40, (3.25, 2.75, 47.875, 38.25), 21, 20),
    (20, 20, (0, 0, 20, 20), 33, 31),
    (448, 448, (0, 0, 448, 448), 224, 224),
    (226, 226, (0.25, 0.125, 224.75, 224.5), 224, 224),
    (300, 200, (10, 20, 290, 180), 7, 5),
    (300, 200, (12, 7, 236, 107), 224, 100),
]


def picture(width, height):
    values = bytearray()
    for i in range(width * height * 3):
        values.append((i * i * 31 + i * 17 + (i >> 5) * 3) & 255)
    return Image.frombytes("RGB", (width, height), bytes(values))


for width, height, box, out_width, out_height in CASES:
    small = picture(width, height).resize((out_width, out_height), Image.BILINEAR, box=box)
    x0, y0, x1, y1 = box
    print(f"{{{width}, {height}, {x0}, {y0}, {x1}, {y1}, {out_width}, {out_height},\n"
          f'     "{hashlib.sha256(small.tobytes()).hexdigest()}"}},')
