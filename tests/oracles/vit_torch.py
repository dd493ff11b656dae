#!/usr/bin/env python3
"""Goldens of the vision transformers, by PyTorch and Pillow alone.

For each preset (configs/encoders/*.yaml, or those named) a network of its true width and of reduced depth is given
seeded weights, written as safetensors and as a PyTorch file, and run on seeded tiles with plain operations (conv2d,
softmax, layer_norm, interpolate). Nothing here shares code or formulas with the C side.

    vit_torch.py OUT [--depth N] [--tiles N] [--size PX] [--tiny] [--seeded] [PRESET.yaml ...]

OUT/NAME/ then holds preset.yaml, weights.safetensors, pytorch_model.bin, tiles.bin (u8 [n][size][size][3]),
expected.bin (f32 [n][dim]) and case.txt ("n size dim"). --tiny makes the checked-in cases of tests/oracles/vit;
--seeded writes the weights' recipe (seeded.py) in place of the weights, as in tests/oracles/seeded, which is made by

    vit_torch.py tests/oracles/seeded --seeded --tiles 2 --size 32 configs/encoders/NAME.yaml ...
"""
import argparse
import json
import os
import struct
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from seeded import Recipe

TINY = """network: vit
layout: {layout}
image: 16
patch: 4
depth: 2
width: 16
heads: 2
mlp: {mlp}
hidden: {hidden}
registers: {registers}
position: {position}
layer_scale: {scale}
eps: 1e-6
{extra}output: {output}
resize: 20
filter: {filter}
mean: [0.5, 0.45, 0.4]
sd: [0.2, 0.25, 0.3]
"""


def read_preset(text):
    preset = {}
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if line:
            key, value = line.split(":", 1)
            value = value.strip()
            preset[key] = ([v.strip().strip('"') for v in value[1:-1].split(",")] if value.startswith("[")
                           else value)
    return preset


class Names:
    """Tensor names of a layout."""

    def __init__(self, p):
        self.prefix = p.get("prefix", "")
        self.meta = p["layout"] == "dinov2"
        self.timm = p["layout"] == "timm" or self.meta
        self.vit = p["layout"] == "hf-vit"
        self.gated = p["mlp"] == "swiglu"

    def top(self, what):
        table = ({"class": "cls_token", "registers": "register_tokens" if self.meta else "reg_token", "position": "pos_embed", "patch": "patch_embed.proj",
                  "norm": "norm"} if self.timm else
                 {"class": "embeddings.cls_token", "registers": "embeddings.register_tokens",
                  "position": "embeddings.position_embeddings", "patch": "embeddings.patch_embeddings.projection",
                  "norm": "layernorm"})
        return self.prefix + table[what]

    def layer(self, i, what):
        if self.timm:
            packed = self.meta and self.gated
            table = {"norm1": "norm1", "proj": "attn.proj", "ls1": "ls1.gamma", "norm2": "norm2",
                     "fc1": "mlp.w12" if packed else "mlp.fc1", "fc2": "mlp.w3" if packed else "mlp.fc2",
                     "ls2": "ls2.gamma", "qkv": "attn.qkv"}
            return f"{self.prefix}blocks.{i}.{table[what]}"
        att = {"q": "attention.attention.query", "k": "attention.attention.key", "v": "attention.attention.value",
               "proj": "attention.output.dense"}
        own = ({"norm1": "layernorm_before", "norm2": "layernorm_after", "fc1": "intermediate.dense",
                "fc2": "output.dense"} if self.vit else
               {"norm1": "norm1", "norm2": "norm2", "ls1": "layer_scale1.lambda1", "ls2": "layer_scale2.lambda1",
                "fc1": "mlp.weights_in" if self.gated else "mlp.fc1",
                "fc2": "mlp.weights_out" if self.gated else "mlp.fc2"})
        return f"{self.prefix}encoder.layer.{i}.{ {**att, **own}[what]}"


def invent(p, generator, dtype):
    """A state dict of the preset's shapes; the generator is PyTorch's or a Recipe."""
    n, state = Names(p), {}
    d, patch, hidden = int(p["width"]), int(p["patch"]), int(p["hidden"])
    registers = int(p.get("registers", 0))
    grid = int(p.get("position_grid", 0)) or int(p["image"]) // patch
    covered = {"all": 1 + registers, "class+patches": 1, "patches": 0}[p["position"]]

    def put(name, *shape, scale=None, around=0.0):
        scale = scale if scale is not None else shape[-1] ** -0.5
        if isinstance(generator, Recipe):
            state[name] = generator.put(name, shape, scale, around)
        else:
            state[name] = (around + scale * torch.randn(*shape, generator=generator)).to(dtype)

    def linear(name, out, inp, gain=1.0):
        put(name + ".weight", out, inp, scale=gain * inp ** -0.5)
        put(name + ".bias", out, scale=0.2)

    def norm(name, width):
        put(name + ".weight", width, scale=0.2, around=1.0)
        put(name + ".bias", width, scale=0.2)

    put(n.top("class"), 1, 1, d, scale=0.5)
    if registers:
        put(n.top("registers"), 1, registers, d, scale=0.5)
    put(n.top("position"), 1, covered + grid * grid, d, scale=0.5)
    put(n.top("patch") + ".weight", d, 3, patch, patch, scale=(3 * patch * patch) ** -0.5)
    put(n.top("patch") + ".bias", d, scale=0.2)
    for i in range(int(p["depth"])):
        norm(n.layer(i, "norm1"), d)
        norm(n.layer(i, "norm2"), d)
        if n.timm:
            linear(n.layer(i, "qkv"), 3 * d, d, 1.5)
        else:
            for part in "qkv":
                linear(n.layer(i, part), d, d, 1.5)
        linear(n.layer(i, "proj"), d, d)
        linear(n.layer(i, "fc1"), hidden * (2 if n.gated else 1), d)
        linear(n.layer(i, "fc2"), d, hidden)
        if p.get("layer_scale") == "true":
            put(n.layer(i, "ls1"), d, scale=0.2, around=0.7)
            put(n.layer(i, "ls2"), d, scale=0.2, around=0.7)
    norm(n.top("norm"), d)
    if p["output"] == "pool":
        w = int(p["pool_width"])
        put("attn_pool_contrast.query", 1, w, scale=1.0)
        norm("attn_pool_contrast.ln_q", w)
        norm("attn_pool_contrast.ln_k", d)
        put("attn_pool_contrast.to_q.weight", w, w, scale=2 * w ** -0.5)
        put("attn_pool_contrast.to_kv.weight", 2 * w, d)
        put("attn_pool_contrast.to_out.weight", w, w)
        norm("ln_contrast", w)
    return state


def to_input(p, tiles):
    """Pillow's resize, the centre crop, mean and SD."""
    resize, image = int(p["resize"]), int(p["image"])
    kernel = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}[p["filter"]]
    corner = int(round((resize - image) / 2.0))
    mean, sd = (torch.tensor([float(v) for v in p[k]]).view(3, 1, 1) for k in ("mean", "sd"))
    out = []
    for tile in tiles:
        picture = Image.fromarray(tile)
        if picture.width != resize:
            picture = picture.resize((resize, resize), kernel)
        picture = picture.crop((corner, corner, corner + image, corner + image))
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        out.append((x - mean) / sd)
    return torch.stack(out)


def interpolated(grid, side, how):
    """[1][D][n][n] to [1][D][side][side]."""
    if grid.shape[-1] == side:
        return grid
    if how == "bicubic-dino":  # interpolate_pos_encoding of DINO and iBOT
        return F.interpolate(grid, scale_factor=((side + 0.1) / grid.shape[-1],) * 2, mode="bicubic")
    return F.interpolate(grid, size=(side, side), mode=how.split("-")[0], align_corners=False,
                         antialias=how.endswith("antialias"))


def resampled(p, table, covered, side):
    stored, through = int(p.get("position_grid", 0)) or side, int(p.get("position_through", 0))
    kept, rest = table[:, :covered], table[:, covered:]
    rest = rest.reshape(1, stored, stored, -1).permute(0, 3, 1, 2)
    if through:
        rest = interpolated(rest, through, p["position_through_resample"])
    rest = interpolated(rest, side, p.get("position_resample"))
    return torch.cat([kept, rest.permute(0, 2, 3, 1).flatten(1, 2)], 1)


def by_hand(q, k, v):
    return torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5, -1) @ v


def forward(p, state, x, attend=by_hand):
    n, eps = Names(p), float(p["eps"])
    d, heads, patch, registers = int(p["width"]), int(p["heads"]), int(p["patch"]), int(p.get("registers", 0))
    grid, b = int(p["image"]) // patch, x.shape[0]

    def linear(name, v):
        return F.linear(v, state[name + ".weight"], state.get(name + ".bias"))

    def norm(name, v, eps=eps):
        return F.layer_norm(v, (v.shape[-1],), state[name + ".weight"], state[name + ".bias"], eps)

    x = F.conv2d(x, state[n.top("patch") + ".weight"], state[n.top("patch") + ".bias"], stride=patch)
    x = x.flatten(2).transpose(1, 2)
    cls = state[n.top("class")].expand(b, -1, -1)
    reg = state[n.top("registers")].expand(b, -1, -1) if registers else x[:, :0]
    covered = {"all": 1 + registers, "class+patches": 1, "patches": 0}[p["position"]]
    position = resampled(p, state[n.top("position")], covered, grid)
    if p["position"] == "all":
        x = torch.cat([cls, reg, x], 1) + position
    elif p["position"] == "patches":
        x = torch.cat([cls, reg, x + position], 1)
    else:
        x = torch.cat([cls, x], 1) + position
        x = torch.cat([x[:, :1], reg, x[:, 1:]], 1)
    for i in range(int(p["depth"])):
        scale1, scale2 = ((state[n.layer(i, "ls1")], state[n.layer(i, "ls2")])
                          if p.get("layer_scale") == "true" else (1.0, 1.0))
        y = norm(n.layer(i, "norm1"), x)
        if n.timm:
            q, k, v = linear(n.layer(i, "qkv"), y).reshape(b, -1, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = (linear(n.layer(i, part), y).reshape(b, -1, heads, d // heads).transpose(1, 2)
                       for part in "qkv")
        y = attend(q, k, v)
        x = x + scale1 * linear(n.layer(i, "proj"), y.transpose(1, 2).reshape(b, -1, d))
        y = linear(n.layer(i, "fc1"), norm(n.layer(i, "norm2"), x))
        if n.gated:
            gate, value = y.chunk(2, -1)
            y = F.silu(gate) * value
        else:
            y = F.gelu(y)
        x = x + scale2 * linear(n.layer(i, "fc2"), y)
    x = norm(n.top("norm"), x)
    if p["output"] == "pool":
        return pooled(p, state, x, linear, norm)
    patches = x[:, 1 + registers:].mean(1)
    return {"class": x[:, 0], "mean": patches, "class+mean": torch.cat([x[:, 0], patches], 1)}[p["output"]]


def pooled(p, state, x, linear, norm):
    a, w, heads = "attn_pool_contrast.", int(p["pool_width"]), int(p["pool_heads"])
    b = x.shape[0]
    q = linear(a + "to_q", norm(a + "ln_q", state[a + "query"], 1e-5)).expand(b, 1, w)
    k, v = linear(a + "to_kv", norm(a + "ln_k", x, 1e-5)).chunk(2, -1)
    q, k, v = (t.reshape(b, -1, heads, w // heads).transpose(1, 2) for t in (q, k, v))
    y = torch.softmax(q * (w // heads) ** -0.5 @ k.transpose(-2, -1), -1) @ v
    return norm("ln_contrast", linear(a + "to_out", y.transpose(1, 2).reshape(b, 1, w)), 1e-5)[:, 0]


def write_safetensors(path, state):
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
    header, at, blobs = {"__metadata__": {"format": "pt"}}, 0, []
    for name, t in state.items():
        blob = t.contiguous().view(torch.int16 if t.element_size() == 2 else t.dtype).numpy().tobytes()
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def make_case(out, name, text, tiles_count, size, dtype, recipe=None):
    p = read_preset(text)
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    state = invent(p, recipe or generator, dtype)
    tiles = np.random.RandomState(7).randint(0, 256, (tiles_count, size, size, 3)).astype(np.uint8)
    for k in range(tiles_count):  # smooth half of each tile: tissue is not noise
        tiles[k, :, : size // 2] = np.linspace(40 + 20 * k, 220, size, dtype=np.uint8)[:, None, None]
    with torch.no_grad():
        expected = forward(p, {k: v.float() for k, v in state.items()}, to_input(p, tiles)).numpy()
    with open(os.path.join(folder, "preset.yaml"), "w") as f:
        f.write(text)
    if recipe:
        recipe.write(os.path.join(folder, "recipe.txt"))
    else:
        write_safetensors(os.path.join(folder, "weights.safetensors"), state)
        torch.save(state, os.path.join(folder, "pytorch_model.bin"))
    tiles.tofile(os.path.join(folder, "tiles.bin"))
    expected.astype(np.float32).tofile(os.path.join(folder, "expected.bin"))
    with open(os.path.join(folder, "case.txt"), "w") as f:
        f.write(f"{tiles_count} {size} {expected.shape[1]}\n")


def tiny_cases(out):
    def text(**changes):
        base = dict(layout="timm", mlp="gelu", hidden=64, registers=0, position="all", scale="true", extra="",
                    output="class+mean", filter="bicubic")
        return TINY.format(**{**base, **changes})
    make_case(out, "tiny-timm", text(), 2, 24, torch.float16)
    make_case(out, "tiny-registers",
              text(mlp="swiglu", hidden=24, registers=3, position="patches", filter="bilinear",
                   extra="position_grid: 6\nposition_resample: bicubic-antialias\n"), 2, 24, torch.bfloat16)
    make_case(out, "tiny-hf",
              text(layout="hf-dinov2", mlp="swiglu", hidden=24, registers=2, position="class+patches", output="mean",
                   extra="position_grid: 3\nposition_resample: bicubic\n"), 2, 20, torch.float16)
    make_case(out, "tiny-dinov2",
              text(layout="dinov2", mlp="swiglu", hidden=24, registers=2, position="class+patches", output="class"),
              2, 20, torch.float32)
    make_case(out, "tiny-pool",
              text(output="pool", extra="position_through: 2\nposition_through_resample: bilinear\n"
                   "position_resample: bicubic-dino\npool_width: 8\npool_heads: 2\n"), 2, 20, torch.float16)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("presets", nargs="*")
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--tiles", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--seeded", action="store_true")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    if args.tiny:
        tiny_cases(args.out)
    for i, path in enumerate(args.presets):
        name = os.path.basename(path)[:-5]
        lines = [f"depth: {args.depth}" if line.startswith("depth:") else line
                 for line in open(path).read().splitlines()]
        make_case(args.out, name, "\n".join(lines) + "\n", args.tiles, args.size,
                  (torch.float32, torch.float16, torch.bfloat16)[i % 3], Recipe() if args.seeded else None)


if __name__ == "__main__":
    main()
