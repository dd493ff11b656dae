#!/usr/bin/env python3
"""A small ViT's weights, good and bad, and the check of a store's rows against PyTorch on the same tiles.

    vit_store.py make DIR          preset.yaml, weights.safetensors and the bad files beside them
    vit_store.py coords STORE ID   "x y" of every tile of a slide
    vit_store.py check DIR STORE ID TILES SIZE LEAST_COSINE
"""
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from vit_torch import forward, invent, read_preset, to_input, write_safetensors  # noqa: E402

PRESET = """# A ViT of timm's layout, two layers.
network: vit
layout: timm
image: 224
patch: 16
depth: 2
width: 64
heads: 2
mlp: gelu
hidden: 256
registers: 0
position: all
layer_scale: true
eps: 1e-6
output: class
resize: 224
filter: bilinear
mean: [0.485, 0.456, 0.406]
sd: [0.229, 0.224, 0.225]
"""


class Forbidden:
    def __reduce__(self):
        return os.system, ("touch hostile-code-ran",)


def make(folder):
    def path(name):
        return os.path.join(folder, name)

    with open(path("preset.yaml"), "w") as f:
        f.write(PRESET)
    state = invent(read_preset(PRESET), torch.Generator().manual_seed(5), torch.float32)
    write_safetensors(path("weights.safetensors"), state)
    whole = open(path("weights.safetensors"), "rb").read()
    open(path("truncated.safetensors"), "wb").write(whole[: len(whole) // 2])
    open(path("header.safetensors"), "wb").write(struct.pack("<Q", 1 << 63) + whole[8:])
    write_safetensors(path("missing.safetensors"), {k: v for k, v in state.items() if k != "blocks.1.norm2.weight"})
    other = PRESET.replace("width: 64", "width: 32")
    write_safetensors(path("other.safetensors"), invent(read_preset(other), torch.Generator().manual_seed(5),
                                                        torch.float32))
    spoilt = {k: v.clone() for k, v in state.items()}
    spoilt["blocks.1.mlp.fc1.weight"][3, 5] = float("nan")
    write_safetensors(path("nan.safetensors"), spoilt)
    with zipfile.ZipFile(path("hostile.bin"), "w", zipfile.ZIP_STORED) as z:
        z.writestr("archive/data.pkl", pickle.dumps({"a": Forbidden()}, 2))
        z.writestr("archive/version", "3\n")


def rows_of(store, slide):
    import h5py
    with h5py.File(store, "r") as f:
        ids = [i.decode().rstrip("\0") for i in f["slides/slide_id"][:]]
        k = ids.index(slide)
        first, count = int(f["slides/first"][k]), int(f["slides/count"][k])
        return f["coords"][first:first + count], f["features"][first:first + count].astype(np.float64)


def check(folder, store, slide, tiles, size, least):
    coords, rows = rows_of(store, slide)
    pixels = np.fromfile(tiles, np.uint8).reshape(-1, size, size, 3)
    assert len(pixels) == len(coords) > 0, (len(pixels), len(coords))
    preset = read_preset(open(os.path.join(folder, "preset.yaml")).read())
    state = invent(preset, torch.Generator().manual_seed(5), torch.float32)
    with torch.no_grad():
        want = forward(preset, state, to_input(preset, pixels)).numpy().astype(np.float64)
    cosine = (rows * want).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(want, axis=1)
    error = np.linalg.norm(rows - want) / np.linalg.norm(want)
    print(f"{slide}: {len(rows)} tiles, least cosine {cosine.min():.7f}, relative error {error:.2e}")
    sys.exit(0 if cosine.min() > least else 1)


if sys.argv[1] == "make":
    make(sys.argv[2])
elif sys.argv[1] == "coords":
    for x, y in rows_of(sys.argv[2], sys.argv[3])[0]:
        print(x, y)
else:
    check(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5], int(sys.argv[6]), float(sys.argv[7]))
