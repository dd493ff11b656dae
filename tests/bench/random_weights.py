#!/usr/bin/env python3
"""Weights of a ViT preset's shapes with seeded values, for benches that need no trained ones.

    random_weights.py PRESET.yaml OUT.safetensors
"""
import os
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracles"))
from vit_torch import invent, read_preset, write_safetensors  # noqa: E402

preset = read_preset(open(sys.argv[1]).read())
write_safetensors(sys.argv[2], invent(preset, torch.Generator().manual_seed(1), torch.float32))
