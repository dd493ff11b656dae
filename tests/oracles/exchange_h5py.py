#!/usr/bin/env python3
"""Exported feature files against the layouts of TRIDENT, CLAM and STAMP, seen by h5py (and PyTorch, where it is
there): exactly their names, shapes, types and attributes, and the store's own values.

usage: exchange_h5py.py STORE.h5 trident|clam|stamp FOLDER
Prints what was compared; ends with 1 at the first difference.
"""
import os
import sys

import h5py
import numpy as np

TEXT = h5py.string_dtype("utf-8")  # what h5py makes of a Python str


def fail(*words):
    sys.exit("exchange_h5py: " + " ".join(str(w) for w in words))


def same(what, got, wanted):
    if isinstance(wanted, float):
        ok = abs(got - wanted) <= 1e-9 * max(1, abs(wanted))
    else:
        ok = got == wanted
    if not ok:
        fail(what, "is", repr(got), "and should be", repr(wanted))


def attributes(node, wanted):
    """wanted: name -> (dtype, value); no other may be there, each is a scalar."""
    same(f"attributes of {node.name}", sorted(node.attrs), sorted(wanted))
    for name, (dtype, value) in wanted.items():
        handle = node.attrs.get_id(name)
        same(f"{node.name}@{name}: shape", handle.shape, ())
        if dtype is TEXT:
            kind = h5py.check_string_dtype(handle.dtype)
            if kind is None or kind.length is not None or kind.encoding != "utf-8":
                fail(f"{node.name}@{name}: is no UTF-8 text of variable length but", handle.dtype)
        else:
            same(f"{node.name}@{name}: type", handle.dtype, np.dtype(dtype))
        if value is not None:
            same(f"{node.name}@{name}", node.attrs[name], value)


def dataset(file, name, dtype, shape):
    same(f"{name}: type", file[name].dtype, np.dtype(dtype))
    same(f"{name}: shape", file[name].shape, shape)
    same(f"{name}: filters", (file[name].compression, file[name].shuffle, file[name].fletcher32), (None, False, False))
    return file[name][:]


def magnification(mpp):
    for below, value in ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5)):
        if mpp < below:
            return value
    return 2


def check_trident(file, slide):
    n, d = slide["features"].shape
    features, coords = dataset(file, "features", "<f4", (n, d)), dataset(file, "coords", "<i8", (n, 2))
    target = 10 / slide["tile_mpp"]
    attributes(file, {})
    attributes(file["features"], {"name": (TEXT, slide["id"]), "savetodir": (TEXT, ""), "encoder": (TEXT, slide["encoder"])})
    attributes(file["coords"], {
        "patch_size": ("<i8", slide["tile"]),
        "patch_size_level0": ("<i8", round(slide["tile"] * slide["tile_mpp"] / slide["mpp"])),
        "level0_magnification": ("<i8", magnification(slide["mpp"])),
        "target_magnification": ("<i8" if target == round(target) else "<f8", target),
        "overlap": ("<i8", slide["overlap"]),
        "name": (TEXT, slide["id"]), "savetodir": (TEXT, ""),
        "level0_width": ("<i8", slide["width"]), "level0_height": ("<i8", slide["height"])})
    return features, coords


def check_clam(file, slide):
    n, d = slide["features"].shape
    for node in (file, file["features"], file["coords"]):
        attributes(node, {})
    return dataset(file, "features", "<f4", (n, d)), dataset(file, "coords", "<i4", (n, 2))


def check_stamp(file, slide):
    n, d = slide["features"].shape
    feats, um = dataset(file, "feats", "<f2", (n, d)), dataset(file, "coords", "<f4", (n, 2))
    attributes(file, {
        "stamp_version": (TEXT, None), "extractor": (TEXT, slide["encoder"]), "unit": (TEXT, "um"),
        "tile_size_um": ("<f8", slide["tile"] * slide["tile_mpp"]), "tile_size_px": ("<i8", slide["tile"]),
        "code_hash": (TEXT, None), "feat_type": (TEXT, "tile")})
    if tuple(map(int, file.attrs["stamp_version"].split("."))) > (2, 4, 0):
        fail("stamp_version", file.attrs["stamp_version"], "is newer than what its readers take")
    attributes(file["feats"], {})
    attributes(file["coords"], {})
    return feats, um / slide["mpp"]


def check_torch(path, features):
    try:
        import torch
    except ImportError:
        return "without PyTorch"
    tensor = torch.load(path)
    same(f"{path}: type", tensor.dtype, torch.float32)
    if not np.array_equal(tensor.numpy(), features.astype("<f4")):
        fail(path, "holds other values than the store")
    return "and PyTorch"


def slides_of(store):
    text = lambda column: [v.decode() for v in store["slides"][column][:]]
    number = lambda column: store["slides"][column][:]
    rows = zip(text("slide_id"), number("first"), number("count"), number("mpp_x") if "mpp_x" in store["slides"] else number("mpp"),
               number("width"), number("height"), number("state"))
    for name, first, count, mpp, width, height, state in rows:
        if state != 1:
            continue
        take = slice(int(first), int(first + count))
        features, coords = store["features"][take], store["coords"][take]
        keep = ~np.isnan(features[:, 0])
        yield {"id": name, "features": features[keep], "coords": coords[keep], "mpp": float(mpp),
               "width": int(width), "height": int(height), "tile": int(store.attrs["tile_size"]),
               "overlap": int(store.attrs["tile_overlap"]), "tile_mpp": float(store.attrs["tile_mpp"]),
               "encoder": store.attrs["encoder"].decode() if isinstance(store.attrs["encoder"], bytes) else store.attrs["encoder"]}


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    check = {"trident": check_trident, "clam": check_clam, "stamp": check_stamp}[sys.argv[2]]
    folder = os.path.join(sys.argv[3], "h5_files") if sys.argv[2] == "clam" else sys.argv[3]
    slides, rows, also = 0, 0, ""
    with h5py.File(sys.argv[1]) as store:
        for slide in slides_of(store):
            with h5py.File(os.path.join(folder, slide["id"] + ".h5")) as file:
                same("datasets", sorted(file), sorted(("feats" if sys.argv[2] == "stamp" else "features", "coords")))
                features, coords = check(file, slide)
            if not np.array_equal(features, slide["features"].astype(features.dtype)):
                fail(slide["id"], "has other features than the store")
            if not np.array_equal(np.rint(coords), slide["coords"]):
                fail(slide["id"], "has other places than the store")
            if sys.argv[2] == "clam":
                also = check_torch(os.path.join(sys.argv[3], "pt_files", slide["id"] + ".pt"), slide["features"])
            slides, rows = slides + 1, rows + len(features)
    files = [f for f in os.listdir(folder) if not f.startswith(".")]
    same("files", len(files), slides)
    print(f"{sys.argv[2]}: {slides} files, {rows} tiles agree, h5py {h5py.__version__} {also}")


if __name__ == "__main__":
    main()
