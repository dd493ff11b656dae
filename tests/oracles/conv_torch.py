#!/usr/bin/env python3
"""Goldens of the truncated ResNet-50 and of CTransPath's Swin-T, whole, by PyTorch and Pillow alone.

    conv_torch.py OUT resnet50|ctranspath [--size PX] [--seeded]
                                              (files as vit_torch.py writes them, from configs/encoders)

Seeded weights; plain operations: conv2d, batch_norm, roll, masks built from region numbers. Nothing here shares code
with the C side.
"""
import argparse
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from seeded import Recipe  # noqa: E402
from vit_torch import read_preset, to_input, write_safetensors  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


class Inventor:
    def __init__(self, seed, prefix, recipe):
        self.generator, self.state, self.prefix = torch.Generator().manual_seed(seed), {}, prefix
        self.recipe = recipe

    def put(self, name, *shape, scale=0.1, around=0.0):
        if self.recipe:
            self.state[self.prefix + name] = self.recipe.put(self.prefix + name, shape, scale, around)
        else:
            value = around + scale * torch.randn(*shape, generator=self.generator)
            self.state[self.prefix + name] = value.half()

    def whole(self, name, *shape):
        self.state[self.prefix + name] = (self.recipe.whole(self.prefix + name, shape) if self.recipe else
                                          torch.full(shape, 7, dtype=torch.int64))

    def conv(self, name, out, inp, k, bias=False):
        self.put(name + ".weight", out, inp, k, k, scale=(2 / (inp * k * k)) ** 0.5)
        if bias:
            self.put(name + ".bias", out)

    def norm(self, name, n, batch=False):
        self.put(name + ".weight", n, around=1.0)
        self.put(name + ".bias", n)
        if batch:
            self.put(name + ".running_mean", n)
            if self.recipe:
                self.put(name + ".running_var", n, scale=0.28, around=1.0)  # uniform: from .5 to 1.5
            else:
                self.state[f"{self.prefix}{name}.running_var"] = (
                    0.5 + torch.rand(n, generator=self.generator)).half()
            self.whole(name + ".num_batches_tracked")

    def linear(self, name, out, inp, bias=True):
        self.put(name + ".weight", out, inp, scale=inp ** -0.5)
        if bias:
            self.put(name + ".bias", out)


def resnet_state(recipe):
    v = Inventor(1, "", recipe)
    v.conv("conv1", 64, 3, 7)
    v.norm("bn1", 64, True)
    inp = 64
    for s, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << s
        for b in range(blocks):
            n = f"layer{s + 1}.{b}."
            for i, (o, c, k) in enumerate(((width, inp, 1), (width, width, 3), (4 * width, width, 1))):
                v.conv(f"{n}conv{i + 1}", o, c, k)
                v.norm(f"{n}bn{i + 1}", o, True)
            if b == 0:
                v.conv(n + "downsample.0", 4 * width, inp, 1)
                v.norm(n + "downsample.1", 4 * width, True)
            inp = 4 * width
    v.linear("fc", 10, 2048)
    return v.state


def resnet(state, x):
    def norm(name, x):
        return F.batch_norm(x, state[name + ".running_mean"], state[name + ".running_var"], state[name + ".weight"],
                            state[name + ".bias"], False, 0, 1e-5)
    x = F.relu(norm("bn1", F.conv2d(x, state["conv1.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, 1)
    for s, blocks in enumerate((3, 4, 6)):
        for b in range(blocks):
            n, stride = f"layer{s + 1}.{b}.", 2 if s and not b else 1
            y = F.relu(norm(n + "bn1", F.conv2d(x, state[n + "conv1.weight"])))
            y = F.relu(norm(n + "bn2", F.conv2d(y, state[n + "conv2.weight"], stride=stride, padding=1)))
            y = norm(n + "bn3", F.conv2d(y, state[n + "conv3.weight"]))
            if b == 0:
                x = norm(n + "downsample.1", F.conv2d(x, state[n + "downsample.0.weight"], stride=stride))
            x = F.relu(x + y)
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


DEPTHS, WINDOW = (2, 2, 6, 2), 7


def swin_state(recipe):
    v = Inventor(2, "model.", recipe)
    v.conv("patch_embed.proj.0", 12, 3, 3)
    v.norm("patch_embed.proj.1", 12, True)
    v.conv("patch_embed.proj.3", 24, 12, 3)
    v.norm("patch_embed.proj.4", 24, True)
    v.conv("patch_embed.proj.6", 96, 24, 1, True)
    v.norm("patch_embed.norm", 96)
    for s, depth in enumerate(DEPTHS):
        c = 96 << s
        for b in range(depth):
            n = f"layers.{s}.blocks.{b}."
            v.norm(n + "norm1", c)
            v.put(n + "attn.relative_position_bias_table", 169, c // 32, scale=0.7)
            v.whole(n + "attn.relative_position_index", 49, 49)
            v.linear(n + "attn.qkv", 3 * c, c)
            v.linear(n + "attn.proj", c, c)
            v.norm(n + "norm2", c)
            v.linear(n + "mlp.fc1", 4 * c, c)
            v.linear(n + "mlp.fc2", c, 4 * c)
        if s < 3:
            v.norm(f"layers.{s}.downsample.norm", 4 * c)
            v.linear(f"layers.{s}.downsample.reduction", 2 * c, 4 * c, False)
    v.norm("norm", 768)
    return v.state


def windows_of(x):
    b, h, w, c = x.shape
    x = x.view(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, WINDOW * WINDOW, c)


def image_of(windows, b, h, w):
    x = windows.view(b, h // WINDOW, w // WINDOW, WINDOW, WINDOW, -1)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, -1)


def shift_mask(h, shift):
    region, number = torch.zeros(1, h, h, 1), 0
    spans = (slice(0, -WINDOW), slice(-WINDOW, -shift), slice(-shift, None))
    for rows in spans:
        for columns in spans:
            region[:, rows, columns] = number
            number += 1
    flat = windows_of(region).squeeze(-1)
    return (flat[:, None, :] != flat[:, :, None]).float() * -100.0


def swin(state, x):
    state = {k[len("model."):]: v for k, v in state.items()}

    def norm(name, x):
        return F.layer_norm(x, (x.shape[-1],), state[name + ".weight"], state[name + ".bias"], 1e-5)

    def linear(name, x):
        return F.linear(x, state[name + ".weight"], state.get(name + ".bias"))

    for conv, bn in ((0, 1), (3, 4)):
        p = f"patch_embed.proj.{bn}."
        x = F.conv2d(x, state[f"patch_embed.proj.{conv}.weight"], stride=2, padding=1)
        x = F.relu(F.batch_norm(x, state[p + "running_mean"], state[p + "running_var"], state[p + "weight"],
                                state[p + "bias"], False, 0, 1e-5))
    x = F.conv2d(x, state["patch_embed.proj.6.weight"], state["patch_embed.proj.6.bias"])
    x = norm("patch_embed.norm", x.permute(0, 2, 3, 1))
    grid = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
    offset = grid[:, :, None] - grid[:, None, :] + WINDOW - 1
    index = offset[0] * (2 * WINDOW - 1) + offset[1]
    for s, depth in enumerate(DEPTHS):
        for i in range(depth):
            n, (b, h, _, c) = f"layers.{s}.blocks.{i}.", x.shape
            heads, shift = c // 32, 3 if i % 2 and h > WINDOW else 0
            y = norm(n + "norm1", x)
            y = windows_of(torch.roll(y, (-shift, -shift), (1, 2)))
            q, k, v = linear(n + "attn.qkv", y).view(-1, 49, 3, heads, 32).permute(2, 0, 3, 1, 4)
            scores = q @ k.transpose(-2, -1) * 32 ** -0.5
            scores = scores + state[n + "attn.relative_position_bias_table"][index].permute(2, 0, 1)
            if shift:
                mask = shift_mask(h, shift)
                scores = (scores.view(b, -1, heads, 49, 49) + mask[None, :, None]).view(-1, heads, 49, 49)
            y = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(-1, 49, c)
            y = image_of(linear(n + "attn.proj", y), b, h, h)
            x = x + torch.roll(y, (shift, shift), (1, 2))
            x = x + linear(n + "mlp.fc2", F.gelu(linear(n + "mlp.fc1", norm(n + "norm2", x))))
        if s < 3:
            x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
            x = linear(f"layers.{s}.downsample.reduction", norm(f"layers.{s}.downsample.norm", x))
    return norm("norm", x).flatten(1, 2).mean(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("name", choices=("resnet50", "ctranspath"))
    parser.add_argument("--size", type=int, default=240)
    parser.add_argument("--seeded", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    text = open(os.path.join(HERE, "../../configs/encoders", args.name + ".yaml")).read()
    recipe = Recipe() if args.seeded else None
    state = resnet_state(recipe) if args.name == "resnet50" else swin_state(recipe)
    tiles = np.random.RandomState(7).randint(0, 256, (2, args.size, args.size, 3)).astype(np.uint8)
    tiles[:, :, : args.size // 2] = np.linspace(40, 220, args.size, dtype=np.uint8)[:, None, None]
    x = to_input(read_preset(text), tiles)
    values = {k: v.float() for k, v in state.items()}
    with torch.no_grad():
        expected = (resnet if args.name == "resnet50" else swin)(values, x).numpy().astype(np.float32)
    folder = os.path.join(args.out, args.name)
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, "preset.yaml"), "w").write(text)
    if recipe:
        recipe.write(os.path.join(folder, "recipe.txt"))
    else:
        write_safetensors(os.path.join(folder, "weights.safetensors"), state)
        # published checkpoints nest their weights: {"model": ...}
        nested = ({"model": {k[len("model."):]: v for k, v in state.items()}, "epoch": 3}
                  if args.name == "ctranspath" else state)
        torch.save(nested, os.path.join(folder, "pytorch_model.bin"))
    tiles.tofile(os.path.join(folder, "tiles.bin"))
    expected.tofile(os.path.join(folder, "expected.bin"))
    open(os.path.join(folder, "case.txt"), "w").write(f"2 {args.size} {expected.shape[1]}\n")


if __name__ == "__main__":
    main()
