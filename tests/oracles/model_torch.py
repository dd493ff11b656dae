#!/usr/bin/env python3
"""Goldens of tests/unit/model_torch.c: gated-attention MIL with a discrete-hazard loss, written with PyTorch's
layers and autograd; loss, and parameters after two AdamW steps on one batch of three patients. Prints C arrays."""
import math

import torch
from torch import nn

torch.set_default_dtype(torch.float64)
DIM, HIDDEN, ATTENTION, COVARIATES, INTERVALS, CENTERS = 5, 4, 3, 2, 3, 2
TILES = [6, 1, 4]
TARGET, EVENT, CENTER = [1, 2, 3], [True, True, False], [0, 1, 1]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(DIM, HIDDEN)
        self.v, self.u = nn.Linear(HIDDEN, ATTENTION), nn.Linear(HIDDEN, ATTENTION)
        self.c = nn.Linear(ATTENTION, 1, bias=False)
        self.head = nn.Linear(HIDDEN + COVARIATES, 1, bias=False)
        self.base = nn.Parameter(torch.zeros(INTERVALS))
        self.center = nn.Parameter(torch.zeros(CENTERS))

    def forward(self, x, covariates, center):
        h = torch.relu(self.embed(x))
        weight = torch.softmax(self.c(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h)))[:, 0], 0)
        z = torch.cat([weight @ h, covariates])
        return self.head(z) + self.base + self.center[center]


def nll(logits, target, event):
    survived = nn.functional.logsigmoid(-logits[:target]).sum()
    return -(survived + nn.functional.logsigmoid(logits[target])) if event else -survived


net = Net()
# The order of the flat vector in src/model: embed, v, u, c, head, base, center.
ordered = [net.embed.weight, net.embed.bias, net.v.weight, net.v.bias, net.u.weight, net.u.bias, net.c.weight,
           net.head.weight, net.base, net.center]
decayed = [net.embed.weight, net.v.weight, net.u.weight, net.c.weight, net.head.weight]
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
    loss = sum(nll(net(bags[p], covariates[p], CENTER[p]), TARGET[p], EVENT[p]) for p in range(3)) / 3
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
print("static const double losses[2] = {%s};" % ", ".join("%.12f" % v for v in losses))
flat = torch.cat([p.detach().reshape(-1) for p in ordered])
print("static const double wanted[%d] = {%s};" % (len(flat), ", ".join("%.10f" % v for v in flat)))
