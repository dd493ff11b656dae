#!/usr/bin/env python3
"""A preset's vision transformer as an ONNX model with seeded weights, for encoder_onnx.js. The file format is written
by hand (onnx.proto3 has the field numbers), so that no ONNX package is needed.

    encoder_onnx.py OUT PRESET.yaml [--batch N] [--depth N]

OUT/model.onnx, OUT/model.bin (weights), OUT/input.bin (f32 [batch][3][side][side]) and OUT/expected.bin (PyTorch's
answer for the first tile) are written. Operators are those of opset 20: LayerNormalization, Gelu, Softmax and MatMul
as they stand, which the runtime may fuse as it likes.
"""
import argparse
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../oracles"))
from vit_torch import Names, forward, invent, read_preset  # noqa: E402

FLOAT, INT64 = 1, 7


def varint(n):
    out = b""
    n &= (1 << 64) - 1
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    """A varint for an int, a 32-bit float, else length and bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + np.float32(value).tobytes()
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def attribute(name, value):
    if isinstance(value, float):
        return field(1, name) + field(2, value) + field(20, 1)
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, 2)
    return field(1, name) + b"".join(field(8, v) for v in value) + field(20, 7)


def value_info(name, shape):
    dims = b"".join(field(1, field(1, d)) for d in shape)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, dims)))


class Graph:
    def __init__(self, weights):
        self.nodes, self.initializers, self.weights, self.at, self.count = [], [], weights, 0, 0

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"t{self.count + i}" for i in range(outputs)]
        self.count += outputs
        node = b"".join(field(1, i) for i in inputs) + b"".join(field(2, o) for o in names) + field(4, kind)
        self.nodes.append(node + b"".join(field(5, attribute(k, v)) for k, v in attributes.items()))
        return names[0] if outputs == 1 else names

    def weight(self, array):
        """In the file beside the model, which may hold more than the 2 GB of a message."""
        array = np.ascontiguousarray(array, np.float32)
        name, size = f"w{len(self.initializers)}", array.nbytes
        self.weights.write(array.tobytes())
        entries = (("location", "model.bin"), ("offset", str(self.at)), ("length", str(size)))
        self.initializers.append(b"".join(field(1, d) for d in array.shape) + field(2, FLOAT) + field(8, name)
                                 + b"".join(field(13, field(1, k) + field(2, v)) for k, v in entries)
                                 + field(14, 1))
        self.at += size
        return name

    def integers(self, *values):
        name = f"i{len(self.initializers)}"
        self.initializers.append(field(1, len(values)) + field(2, INT64) + field(8, name)
                                 + field(9, np.array(values, np.int64).tobytes()))
        return name

    def model(self, inputs, output, shape):
        graph = (b"".join(field(1, n) for n in self.nodes) + field(2, "vit")
                 + b"".join(field(5, i) for i in self.initializers) + field(11, inputs)
                 + field(12, value_info(output, shape)))
        return field(1, 9) + field(8, field(1, "") + field(2, 20)) + field(7, graph)


def build(g, p, state, batch):
    n = Names(p)
    d, heads, depth, hidden = (int(p[k]) for k in ("width", "heads", "depth", "hidden"))
    side, patch, registers = int(p["image"]), int(p["patch"]), int(p.get("registers", 0))
    patches = (side // patch) ** 2
    tokens, head = 1 + registers + patches, d // heads

    def numpy(name):
        return state[name].numpy()

    def linear(x, name):
        return g.op("Add", g.op("MatMul", x, g.weight(numpy(name + ".weight").T)), g.weight(numpy(name + ".bias")))

    def norm(x, name):
        return g.op("LayerNormalization", x, g.weight(numpy(name + ".weight")), g.weight(numpy(name + ".bias")),
                    epsilon=float(p["eps"]))

    def split_heads(x):
        return g.op("Transpose", g.op("Reshape", x, g.integers(batch, tokens, heads, head)), perm=[0, 2, 1, 3])

    def qkv(x, i):
        if not n.timm:
            return [linear(x, n.layer(i, part)) for part in "qkv"]
        return g.op("Split", linear(x, n.layer(i, "qkv")), g.integers(d, d, d), outputs=3, axis=2)

    def scaled(x, i, which):
        return g.op("Mul", x, g.weight(numpy(n.layer(i, which)))) if p.get("layer_scale") == "true" else x

    x = g.op("Conv", "pixels", g.weight(numpy(n.top("patch") + ".weight")), g.weight(numpy(n.top("patch") + ".bias")),
             kernel_shape=[patch, patch], strides=[patch, patch])
    x = g.op("Transpose", g.op("Reshape", x, g.integers(batch, d, patches)), perm=[0, 2, 1])
    lead = numpy(n.top("class"))
    if registers:
        lead = np.concatenate([lead, numpy(n.top("registers"))], 1)
    position = numpy(n.top("position"))
    whole = np.zeros((1, tokens, d), np.float32)  # what each token gets, leading ones their own value as well
    whole[:, :1 + registers] = lead
    covered = position.shape[1] - patches
    whole[:, :covered] += position[:, :covered]
    whole[:, 1 + registers:] = position[:, covered:]
    x = g.op("Concat", g.weight(np.zeros((batch, 1 + registers, d))), x, axis=1)
    x = g.op("Add", x, g.weight(whole))
    for i in range(depth):
        q, k, v = (split_heads(t) for t in qkv(norm(x, n.layer(i, "norm1")), i))
        scores = g.op("Mul", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])),
                      g.weight(np.array(head ** -0.5)))
        y = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
        y = g.op("Reshape", g.op("Transpose", y, perm=[0, 2, 1, 3]), g.integers(batch, tokens, d))
        x = g.op("Add", x, scaled(linear(y, n.layer(i, "proj")), i, "ls1"))
        y = linear(norm(x, n.layer(i, "norm2")), n.layer(i, "fc1"))
        if n.gated:
            gate, value = g.op("Split", y, g.integers(hidden, hidden), outputs=2, axis=2)
            y = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), value)
        else:
            y = g.op("Gelu", y)
        x = g.op("Add", x, scaled(linear(y, n.layer(i, "fc2")), i, "ls2"))
    x = norm(x, n.top("norm"))
    return g.op("Gather", x, g.integers(0), axis=1), (batch, 1, d)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("preset")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--depth", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    preset = read_preset(open(args.preset).read())
    if args.depth:
        preset["depth"] = str(args.depth)
    preset["output"] = "class"
    state = invent(preset, torch.Generator().manual_seed(1), torch.float32)
    side = int(preset["image"])
    pixels = torch.randn(args.batch, 3, side, side, generator=torch.Generator().manual_seed(2))
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "model.bin"), "wb") as weights:
        graph = Graph(weights)
        output, shape = build(graph, preset, state, args.batch)
    with open(os.path.join(args.out, "model.onnx"), "wb") as f:
        f.write(graph.model(value_info("pixels", pixels.shape), output, shape))
    with torch.no_grad():
        forward(preset, state, pixels[:1]).numpy().tofile(os.path.join(args.out, "expected.bin"))
    pixels.numpy().tofile(os.path.join(args.out, "input.bin"))


main()
