#!/usr/bin/env python3
"""PyTorch's speed on a preset's network, beside `lobule bench encoder NAME`: same shapes, seeded weights.

    encoder_torch.py [--batch N] [--threads N] [--repeats N] [--bf16] configs/encoders/uni.yaml ...

One JSON line each. Rates are given by wall clock and by processor time, since a shared machine makes the former noise.
Linear layers, layer norm and GELU are PyTorch's operators, and so is attention from PyTorch 2 on; before, it is
two products and a softmax ("attention" says which). Weights are parameters, so that autocast casts each of them once and
keeps it, as it does for a module: for other tensors it would cast again in every batch.
"""
import argparse
import contextlib
import json
import os
import sys
import time

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../oracles"))
from vit_torch import by_hand, forward, invent, read_preset  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("presets", nargs="+")
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--bf16", action="store_true")
args = parser.parse_args()
fused = getattr(torch.nn.functional, "scaled_dot_product_attention", None)
torch.set_num_threads(args.threads)
for path in args.presets:
    preset = read_preset(open(path).read())
    state = {name: weight.requires_grad_(True)
             for name, weight in invent(preset, torch.Generator().manual_seed(1), torch.float32).items()}
    side = int(preset["image"])
    x = torch.randn(args.batch, 3, side, side)
    context = torch.autocast("cpu", dtype=torch.bfloat16) if args.bf16 else contextlib.nullcontext()
    wall, cpu = [], []
    with torch.no_grad(), context:
        forward(preset, state, x[:1], fused or by_hand)
        for _ in range(args.repeats):
            w, c = time.perf_counter(), time.process_time()
            forward(preset, state, x, fused or by_hand)
            wall.append(args.batch / (time.perf_counter() - w))
            cpu.append(args.batch / (time.process_time() - c))
    print(json.dumps({"bench": "encoder", "case": os.path.basename(path)[:-5], "peer": "torch " + torch.__version__,
                      "precision": "bf16" if args.bf16 else "fp32", "threads": args.threads, "batch": args.batch,
                      "rate": float(np.median(wall)), "rate_per_cpu_second": float(np.median(cpu)),
                      "all": wall, "unit": "tiles/s",
                      "attention": "fused" if fused else "by hand"}))
