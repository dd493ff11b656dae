#!/usr/bin/env python3
"""Feature files as AtlasPatch and Slideflow lay them out, made of TRIDENT files; and a comparison of two stores.

usage: exchange_foreign.py atlaspatch TRIDENT_FOLDER FOLDER [SECOND_ENCODER]
       exchange_foreign.py slideflow npz|npy TRIDENT_FOLDER FOLDER MPP_CSV     (needs PyTorch)
       exchange_foreign.py same A.h5 B.h5 PIXELS      features equal, places at most so many px apart
"""
import csv
import json
import os
import sys

import h5py
import numpy as np


def slides(folder):
    for name in sorted(os.listdir(folder)):
        with h5py.File(os.path.join(folder, name)) as file:
            yield name[:-3], file["features"][:], file["coords"][:], dict(file["coords"].attrs), file["features"].attrs["encoder"]


def atlaspatch(source, folder, second=None):
    for name, features, coords, facts, encoder in slides(source):
        side = int(facts["patch_size_level0"])
        with h5py.File(os.path.join(folder, name + ".h5"), "w") as file:
            for key in ("patch_size", "patch_size_level0", "level0_magnification", "target_magnification", "overlap",
                        "level0_width", "level0_height"):
                file.attrs[key] = int(facts[key])
            file.attrs["wsi_path"], file.attrs["num_patches"], file.attrs["passport_version"] = "/a/b.svs", len(coords), 2
            rest = np.full((len(coords), 3), [side, side, 0])
            file.create_dataset("coords", data=np.hstack([coords, rest]).astype("<i4"), maxshape=(None, 5), chunks=(64, 5))
            file.create_dataset("passports", data=np.array([b"p"] * len(coords), "S160"))
            group = file.create_group("features")
            group.create_dataset(encoder, data=features, maxshape=(None, features.shape[1]), chunks=(32, features.shape[1]))
            group.create_dataset("__tmp_late", data=features[:1])
            if second:
                group.create_dataset(second, data=features[:, :8] * 2)


def slideflow(ending, source, folder, table):
    import torch
    mpp = {row["slide_id"]: float(row["mpp"]) for row in csv.DictReader(open(table))}
    config = {"extractor": {"class": "slideflow.model.extractors.uni.UNIFeatures", "kwargs": {"center_crop": True}},
              "normalizer": {"method": "macenko", "fit": {}}, "num_features": 0, "tile_px": 224, "tile_um": 112}
    for name, features, coords, _, _ in slides(source):
        torch.save(torch.from_numpy(features), os.path.join(folder, name + ".pt"))
        centres = (coords + 112 / mpp[name] / 2).astype(np.int64)
        path = os.path.join(folder, name + ".index")
        np.savez(path + ".npz", centres) if ending == "npz" else np.save(path + ".npy", centres.astype(np.int32))
        config["num_features"] = features.shape[1]
    json.dump(config, open(os.path.join(folder, "bags_config.json"), "w"))


def same(a, b, pixels):
    with h5py.File(a) as x, h5py.File(b) as y:
        if not np.array_equal(x["features"][:], y["features"][:]):
            sys.exit("features differ")
        apart = np.abs(x["coords"][:].astype(int) - y["coords"][:].astype(int)).max(initial=0)
        if apart > int(pixels):
            sys.exit(f"places are {apart} px apart")
        print(f"{len(x['features'])} tiles, places at most {apart} px apart")


if __name__ == "__main__":
    command = {"atlaspatch": atlaspatch, "slideflow": slideflow, "same": same}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if not command:
        sys.exit(__doc__)
    command(*sys.argv[2:])
