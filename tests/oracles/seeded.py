"""Weights that are not stored but made, here and in tests/unit/encoder_case.c, from a recipe of one line a tensor:
"name type scale around length...". Element i of a tensor is around + scale * u, u uniform with unit variance, from
SplitMix64 of the CRC-32 of its name and i; then rounded to its type."""
import zlib

import numpy as np
import torch


class Recipe:
    def __init__(self):
        self.lines = []

    def put(self, name, shape, scale, around=0.0):
        """The tensor, as float16; the recipe's numbers are what it is made of."""
        scale, around = float(f"{scale:.9g}"), float(f"{around:.9g}")
        self.lines.append(" ".join([name, "F16", repr(scale), repr(around), *map(str, shape)]))
        i = np.arange(int(np.prod(shape)), dtype=np.uint64)
        with np.errstate(over="ignore"):
            z = (np.uint64(zlib.crc32(name.encode())) << np.uint64(32)) + i * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z = (z ^ z >> np.uint64(31)) >> np.uint64(40)
        u = (z.astype(np.float64) / 16777216 - 0.5) * 12 ** 0.5
        return torch.from_numpy((around + scale * u).astype(np.float32).astype(np.float16)).reshape(shape)

    def whole(self, name, shape):
        """An integer tensor that no network uses."""
        self.lines.append(" ".join([name, "I64", "0", "0", *map(str, shape)]))
        return torch.zeros(shape, dtype=torch.int64)

    def write(self, path):
        with open(path, "w") as f:
            f.write("\n".join(self.lines) + "\n")
