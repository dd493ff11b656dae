#!/usr/bin/env python3
"""Goldens of tests/unit/model_torch.c: gated-attention MIL and a transformer with a discrete-hazard loss, and
CLAM with classes, written with PyTorch's layers and autograd; loss, and parameters after two AdamW steps on one
batch of three patients. Prints C arrays, of which the test holds the digits."""
import math

import torch
from torch import nn

torch.set_default_dtype(torch.float64)
DIM, HIDDEN, ATTENTION, COVARIATES, INTERVALS, CENTERS = 5, 4, 3, 2, 3, 2
TILES = [6, 1, 4]
TARGET, EVENT, CENTER = [1, 2, 3], [True, True, False], [0, 1, 1]


CLASSES = 3


def nll(logits, target, event):
    survived = nn.functional.logsigmoid(-logits[:target]).sum()
    return -(survived + nn.functional.logsigmoid(logits[target])) if event else -survived


class Hazards(nn.Module):
    """The head on a patient's vector, and the loss of a survival endpoint."""

    def head_and_loss(self, width):
        self.head = nn.Linear(width + COVARIATES, 1, bias=False)
        self.base = nn.Parameter(torch.zeros(INTERVALS))
        self.center = nn.Parameter(torch.zeros(CENTERS))

    def loss(self, x, covariates, p):
        logits = self.head(torch.cat([self.pool(x), covariates])) + self.base + self.center[CENTER[p]]
        return nll(logits, TARGET[p], EVENT[p])

    def tail(self):
        return [self.head.weight, self.base, self.center]


class Gated(Hazards):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(DIM, HIDDEN)
        self.v, self.u = nn.Linear(HIDDEN, ATTENTION), nn.Linear(HIDDEN, ATTENTION)
        self.c = nn.Linear(ATTENTION, 1, bias=False)
        self.head_and_loss(HIDDEN)

    def tiles(self, x):
        h = torch.relu(self.embed(x))
        return h, torch.softmax(self.c(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h)))[:, 0], 0)

    def pool(self, x):
        h, weight = self.tiles(x)
        return weight @ h

    def gate(self):
        return [self.embed.weight, self.embed.bias, self.v.weight, self.v.bias, self.u.weight, self.u.bias,
                self.c.weight]

    def ordered(self):
        return self.gate() + self.tail()


class Clam(Gated):
    """Three classes; the instance branch as CLAM has it with subtyping, cross-entropy for both losses."""

    def head_and_loss(self, width):
        self.instance = nn.ModuleList([nn.Linear(width, 2) for _ in range(CLASSES)])
        self.head = nn.Linear(width + COVARIATES, CLASSES, bias=False)
        self.base = nn.Parameter(torch.zeros(CLASSES))
        self.center = nn.Parameter(torch.zeros(CENTERS, CLASSES))

    def ordered(self):
        inner = [q for c in self.instance for q in (c.weight, c.bias)]
        return self.gate() + inner + self.tail()

    def loss(self, x, covariates, p):
        target = TARGET[p] - 1
        h, weight = self.tiles(x)
        logits = self.head(torch.cat([weight @ h, covariates])) + self.base + self.center[CENTER[p]]
        loss = 0.7 * nn.functional.cross_entropy(logits[None], torch.tensor([target]))
        k = min(8, len(x) // 2)
        if k == 0:
            return loss
        top, bottom = torch.topk(weight, k)[1], torch.topk(-weight, k)[1]
        inside = 0
        for c in range(CLASSES):
            picked = torch.cat([top, bottom]) if c == target else top
            label = torch.cat([torch.ones(k), torch.zeros(k)]) if c == target else torch.zeros(k)
            inside = inside + nn.functional.cross_entropy(self.instance[c](h[picked]), label.long())
        return loss + 0.3 * inside / CLASSES


class Layer(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)
        self.qkv, self.out = nn.Linear(HIDDEN, 3 * HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.up, self.down = nn.Linear(HIDDEN, 2 * HIDDEN), nn.Linear(2 * HIDDEN, HIDDEN)

    def forward(self, x):
        n, width = len(x), HIDDEN // self.heads
        q, k, v = self.qkv(self.norm1(x)).view(n, 3, self.heads, width).permute(1, 2, 0, 3)
        weight = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(width), -1)
        x = x + self.out((weight @ v).permute(1, 0, 2).reshape(n, HIDDEN))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))

    def ordered(self):
        return [p for m in (self.norm1, self.qkv, self.out, self.norm2, self.up, self.down)
                for p in (m.weight, m.bias)]


class Transformer(Hazards):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(DIM, HIDDEN)
        self.token = nn.Parameter(torch.zeros(HIDDEN))
        self.layers = nn.ModuleList([Layer(2), Layer(2)])
        self.norm = nn.LayerNorm(HIDDEN)
        self.head_and_loss(HIDDEN)

    def pool(self, x):
        x = torch.cat([self.token[None], torch.relu(self.embed(x))])
        for layer in self.layers:
            x = layer(x)
        return self.norm(x[0])

    def ordered(self):
        inner = [p for layer in self.layers for p in layer.ordered()]
        return [self.embed.weight, self.embed.bias, self.token] + inner + [
            self.norm.weight, self.norm.bias] + self.tail()


def two_steps(name, net):
    ordered = net.ordered()  # as the flat vector in src/model
    decayed = [p for p in ordered if p.dim() == 2 and p is not net.center]
    i = 0
    with torch.no_grad():
        for p in ordered:
            flat = p.view(-1)
            for k in range(flat.numel()):
                flat[k] = 0.6 * math.sin(1.7 * i + 0.3)
                i += 1
    k = 0
    bags = []
    for n in TILES:
        bags.append(torch.tensor([[math.cos(0.9 * (k + r * DIM + j)) for j in range(DIM)] for r in range(n)]))
        k += n * DIM
    covariates = [torch.tensor([0.5 * p - 0.4, 1.0 - p]) for p in range(3)]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.5},
                                   {"params": [p for p in ordered if not any(p is q for q in decayed)],
                                    "weight_decay": 0}], lr=0.01)
    losses = []
    for step in range(2):
        optimiser.zero_grad()
        loss = sum(net.loss(bags[p], covariates[p], p) for p in range(3)) / 3
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    print("static const double %s_losses[2] = {%s};" % (name, ", ".join("%.12f" % v for v in losses)))
    flat = torch.cat([p.detach().reshape(-1) for p in ordered])
    print("static const double %s_wanted[%d] = {%s};" % (name, len(flat), ", ".join("%.10f" % v for v in flat)))


two_steps("abmil", Gated())
two_steps("clam", Clam())
two_steps("transformer", Transformer())
