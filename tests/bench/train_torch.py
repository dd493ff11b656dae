#!/usr/bin/env python3
"""PyTorch's speed on the networks of `lobule bench train`: the same gated attention, mini-batches, order of bags and
tiles, one process a core.

    train_torch.py [--bags 24] [--tiles 4000] [--dim 1024] [--centers 6] [--seeds 5] [--hidden 256] [--attention 128]
                   [--epochs 1] [--folds N] [--processes 1] [--bf16] [--resident]

Prints one JSON line: tiles a second (a tile counts once for each model it goes through, forward and back) summed over
processes, by wall clock and by processor time. One model after another trains, as a PyTorch script does. Bags are
float16 and become float32 as they are used; --resident converts them once instead and leaves that out of the clock.
--folds: how many of the folds are measured (default all); every fold does the same work.
"""
import argparse
import json
import multiprocessing
import os
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

parser = argparse.ArgumentParser()
for name, value in (("bags", 24), ("tiles", 4000), ("dim", 1024), ("centers", 6), ("seeds", 5), ("hidden", 256),
                    ("attention", 128), ("epochs", 1), ("folds", 0), ("processes", 1)):
    parser.add_argument("--" + name, type=int, default=value)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--resident", action="store_true")
args = parser.parse_args()


def train(rank, ready, answers):
    import contextlib
    import torch
    from torch import nn
    torch.set_num_threads(1)
    torch.manual_seed(1)
    size = args.bags * args.tiles * args.dim
    pool = torch.randn(1 << 20).half()
    bags = pool.repeat(size // len(pool) + 1)[:size].view(args.bags, args.tiles, args.dim)
    if args.resident:
        bags = bags.float()
    times = 800 * torch.rand(args.bags)
    intervals = 8
    target = (times / 100).long().clamp(max=intervals - 1)
    event = torch.rand(args.bags) < 0.6

    class Abmil(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(args.dim, args.hidden)
            self.tanh = nn.Linear(args.hidden, args.attention)
            self.sigmoid = nn.Linear(args.hidden, args.attention)
            self.score = nn.Linear(args.attention, 1, bias=False)
            self.drop = nn.Dropout(0.25)
            self.head = nn.Linear(args.hidden, 1, bias=False)
            self.base = nn.Parameter(torch.zeros(intervals))
            self.center = nn.Parameter(torch.zeros(args.centers))

        def forward(self, x):
            h = torch.relu(self.first(x))
            e = self.score(torch.tanh(self.tanh(h)) * torch.sigmoid(self.sigmoid(h)))
            return self.head(self.drop(torch.softmax(e, 0).t() @ h))

    def loss(model, out, p):
        logit = model.base + model.center[p % args.centers] + out.float().view(())
        last = int(target[p])
        total = nn.functional.softplus(logit[:last]).sum()
        return total + nn.functional.softplus(-logit[last]) if event[p] else total

    def fold(held_out):
        learn = [p for p in range(args.bags) if p % args.centers != held_out]
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            model = Abmil()
            optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1)
            for _ in range(args.epochs):
                for i in range(0, len(learn), args.batch):
                    batch = learn[i:i + args.batch]
                    optimizer.zero_grad()
                    for p in batch:
                        context = torch.autocast("cpu", dtype=torch.bfloat16) if args.bf16 else contextlib.nullcontext()
                        with context:
                            out = model(bags[p] if args.resident else bags[p].float())
                        (loss(model, out, p) / len(batch)).backward()
                    optimizer.step()
        return len(learn) * args.tiles * args.seeds * args.epochs

    x = bags[0].float()
    warm = Abmil()
    loss(warm, warm(x), 0).backward()
    folds = range(rank, args.folds or args.centers, args.processes)
    ready.wait()
    wall, cpu, tiles = time.perf_counter(), time.process_time(), 0
    for f in folds:
        tiles += fold(f)
    answers.put((tiles, time.perf_counter() - wall, time.process_time() - cpu, torch.__version__))


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(args.processes), context.Queue()
    workers = [context.Process(target=train, args=(r, ready, answers)) for r in range(args.processes)]
    for w in workers:
        w.start()
    got = [answers.get() for _ in workers]
    for w in workers:
        w.join()
    if any(w.exitcode for w in workers):
        sys.exit("a process failed")
    rate = sum(t / w for t, w, _, _ in got if t)
    cpu = sum(t / c for t, _, c, _ in got if t)
    print(json.dumps({"bench": "train", "peer": "torch " + got[0][3],
                      "case": f"abmil {args.hidden}/{args.attention} {'bf16' if args.bf16 else 'fp32'}, {args.bags} bags "
                              f"of {args.tiles} x {args.dim}, {args.centers} folds x {args.seeds} seeds",
                      "rate": rate, "rate_per_cpu_second": cpu, "unit": "tiles/s", "processes": args.processes}))
