#!/usr/bin/python3
"""Holds a demo cohort that has been run against its truth.csv.   usage: demo_truth.py DIR...   (each with truth.csv and out/)

Prints, a line a cohort: the center-stratified concordance of the true linear predictor of the model's inputs, of the held-out predictions, the share
of the excess over 0.5 that was recovered; and how well pooled texture columns tell grade and immune in held-out centers (ridge fitted on
the other centers). Needs python3-numpy and python3-h5py."""
import csv
import glob
import statistics
import sys

import h5py
import numpy as np


def rows(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def concordance(time, event, score, center):
    """Harrell's C over pairs within a center, pair by pair."""
    good = pairs = 0.0
    for i in range(len(time)):
        if event[i] != 1:
            continue
        later = (center == center[i]) & ((time > time[i]) | ((time == time[i]) & (event != 1)))
        pairs += later.sum()
        good += (score[i] > score[later]).sum() + 0.5 * (score[i] == score[later]).sum()
    return good / pairs


def pooled_columns(out, patients):
    """Mean of each column over a patient's readable tiles."""
    total, n = None, np.zeros(len(patients))
    index = {p: i for i, p in enumerate(patients)}
    for path in sorted(glob.glob(out + "/store/*.h5")):
        with h5py.File(path) as f:
            x = f["features"][:].astype(np.float64)
            if total is None:
                total = np.zeros((len(patients), x.shape[1]))
            for who, first, count, state in zip(f["slides/patient_id"], f["slides/first"], f["slides/count"], f["slides/state"]):
                if state != 1:
                    continue
                part = x[first:first + count]
                part = part[~np.isnan(part).any(1)]
                total[index[who.decode()]] += part.sum(0)
                n[index[who.decode()]] += len(part)
    return total / n[:, None]


def told_in_held_out_centers(x, latent, center, ridge=10.0):
    """Correlation within each held-out center of a ridge fit on the others; the mean over centers and the least."""
    found = []
    for c in sorted(set(center)):
        train = center != c
        mean, sd = x[train].mean(0), x[train].std(0) + 1e-9
        z, t = (x[train] - mean) / sd, (x[~train] - mean) / sd
        w = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ (latent[train] - latent[train].mean()))
        found.append(np.corrcoef(t @ w, latent[~train])[0, 1])
    return np.mean(found), min(found)


def main():
    shares = []
    for folder in sys.argv[1:]:
        truth = {r["patient_id"]: r for r in rows(folder + "/truth.csv")}
        predictions = [r for r in rows(folder + "/out/predictions.csv") if r["model"] != "clinical" and r["time"]]
        ids = [r["patient_id"] for r in predictions]
        time, event = np.array([float(r["time"]) for r in predictions]), np.array([int(r["event"]) for r in predictions])
        center = np.array([r["center"] for r in predictions])
        true = concordance(time, event, np.array([float(truth[i]["lp_inputs"]) for i in ids]), center)
        model = concordance(time, event, np.array([float(r["linear_predictor"]) for r in predictions]), center)
        shares.append((model - 0.5) / (true - 0.5))
        line = f"{folder}: events {int((event == 1).sum())}, C of the truth {true:.4f}, of the model {model:.4f}, share {shares[-1]:.3f}"
        if glob.glob(folder + "/out/store/*.h5"):
            x = pooled_columns(folder + "/out", ids)
            for name in ("grade", "immune"):
                mean, least = told_in_held_out_centers(x, np.array([float(truth[i][name]) for i in ids]), center)
                line += f"; {name}: correlation {mean:.3f} (least center {least:.3f})"
        print(line)
    print(f"cohorts {len(shares)}: share of the excess recovered: median {statistics.median(shares):.3f}, least {min(shares):.3f}")


main()
