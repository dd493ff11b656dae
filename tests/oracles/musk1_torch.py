#!/usr/bin/env python3
"""Goldens of tests/unit/hdf5io_musk1.c: gated-attention MIL trained on MUSK1 with PyTorch's layers, autograd and AdamW
from weights that a formula gives, in a fixed order, without dropout; prints the logits of all 92 bags as a C array.
Held out is fold 0 of the first repeat. usage: musk1_torch.py MUSK1_FOLDER >tests/unit/hdf5io_musk1_golden.h"""
import csv
import math
import sys

import h5py
import numpy as np
import torch
from torch import nn

torch.set_default_dtype(torch.float64)
HIDDEN, ATTENTION, EPOCHS, BATCH, RATE, DECAY = 32, 16, 8, 16, 1e-3, 0.1
folder = sys.argv[1]
slides = list(csv.DictReader(open(folder + "/slides.csv")))
label = {r["patient_id"]: float(r["label"]) for r in csv.DictReader(open(folder + "/patients.csv"))}
fold = {r["patient_id"]: r["fold"] for r in csv.DictReader(open(folder + "/folds.csv")) if r["repeat"] == "0"}
bags = [h5py.File("%s/features/%s.h5" % (folder, r["slide_id"]))["features"][:].astype("f2").astype("f8") for r in slides]
names = [r["patient_id"] for r in slides]
train = [i for i, n in enumerate(names) if fold[n] != "0"]
mean = np.mean([bags[i].mean(0) for i in train], 0)
square = np.mean([(bags[i] ** 2).mean(0) for i in train], 0)
scaled = [torch.tensor((x - mean) / np.sqrt(square - mean ** 2)) for x in bags]
dim = len(mean)


class Abmil(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(dim, HIDDEN)
        self.tanh, self.sigmoid = nn.Linear(HIDDEN, ATTENTION), nn.Linear(HIDDEN, ATTENTION)
        self.score = nn.Linear(ATTENTION, 1, bias=False)
        self.head = nn.Linear(HIDDEN, 1, bias=False)
        self.base, self.center = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x):
        h = torch.relu(self.first(x))
        a = torch.softmax(self.score(torch.tanh(self.tanh(h)) * torch.sigmoid(self.sigmoid(h))), 0)
        return (self.head((a * h).sum(0)) + self.base + self.center)[0]


model = Abmil()
at = 0
for p in [model.first.weight, model.first.bias, model.tanh.weight, model.tanh.bias, model.sigmoid.weight,
          model.sigmoid.bias, model.score.weight, model.head.weight, model.base, model.center]:
    p.data = torch.tensor([0.1 * math.sin(1.7 * (at + i) + 0.3) for i in range(p.numel())]).float().double().view(p.shape)
    at += p.numel()
weights = [p for n, p in model.named_parameters() if n.endswith("weight")]
others = [p for n, p in model.named_parameters() if not n.endswith("weight")]
optimizer = torch.optim.AdamW([{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0}], lr=RATE)
for _ in range(EPOCHS):
    for i in range(0, len(train), BATCH):
        batch = train[i:i + BATCH]
        optimizer.zero_grad()
        for b in batch:
            loss = nn.functional.binary_cross_entropy_with_logits(model(scaled[b]), torch.tensor(label[names[b]]))
            (loss / len(batch)).backward()
        optimizer.step()
with torch.no_grad():
    logits = [float(model(x)) for x in scaled]
print("/* By tests/oracles/musk1_torch.py. */\nstatic const double musk1_logits[] = {")
print(",\n".join("    " + ", ".join("%.9g" % v for v in logits[i:i + 6]) for i in range(0, len(logits), 6)))
print("};")
print(sum((l > 0) == (label[n] == 1) for l, n in zip(logits, names)), "of", len(names), "are on their side", file=sys.stderr)
