#!/usr/bin/python3
"""What a model learns from anything but tissue.   usage: demo_artefacts.py LOBULE DIR...   (demo cohorts that have been run)

Trains the covariate-only model on stain means, tile count, file size, scale and center of each patient's slides, leaving one center out at a time, and
prints its held-out concordance: it should stay near 0.5."""
import csv
import os
import subprocess
import sys
import tempfile


def rows(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def artefacts(folder):
    """patient -> what is known of the slides without looking at the tissue."""
    paths = {r["slide_id"]: os.path.join(folder, r["path"]) for r in rows(folder + "/slides.csv")}
    found = {}
    for r in rows(folder + "/out/slides.csv"):
        if r["state"] == "done":
            found.setdefault(r["patient_id"], []).append(
                [float(r[c]) for c in ("od_red", "od_green", "od_blue", "tiles", "mpp")] + [os.path.getsize(paths[r["slide_id"]])])
    names = ["stain_red", "stain_green", "stain_blue", "tiles", "mpp", "bytes"]
    return names, {p: [sum(c) / len(c) for c in zip(*v)] for p, v in found.items()}


def concordance_of(lobule, folder):
    names, known = artefacts(folder)
    patients = rows(folder + "/patients.csv")
    with tempfile.TemporaryDirectory() as work:
        with open(work + "/patients.csv", "w", newline="") as f:
            out = csv.writer(f)
            out.writerow(["patient_id", "center", "rfs_days", "rfs_event", "site"] + names)
            for p in patients:
                out.writerow([p["patient_id"], p["center"], p["rfs_days"], p["rfs_event"], p["center"]] +
                             known.get(p["patient_id"], [""] * len(names)))
        with open(work + "/slides.csv", "w") as f:
            f.write(open(folder + "/slides.csv").read().replace(",slides/", "," + os.path.abspath(folder) + "/slides/"))
        with open(work + "/study.yaml", "w") as f:
            f.write(f"""study: artefacts
cohort: {{slides: slides.csv, patients: patients.csv}}
features: {os.path.abspath(folder)}/out/store
endpoints: [{{name: rfs, kind: survival, time: rfs_days, event: rfs_event, landmark: 90}}]
covariates: [site, {', '.join(names)}]
model: {{kind: clinical}}
output: out
""")
        run = subprocess.run([lobule, "validate", work + "/study.yaml"], capture_output=True, text=True)
        if run.returncode:
            sys.exit(run.stderr)
        return next(float(r["estimate"]) for r in rows(work + "/out/metrics.csv")
                    if r["model"] == "clinical" and r["center"] == "pooled" and r["metric"] == "harrell_c")


found = []
for cohort in sys.argv[2:]:
    found.append(concordance_of(sys.argv[1], cohort))
    print(f"{cohort}: C of artefacts alone {found[-1]:.4f}", flush=True)
print(f"cohorts {len(found)}: mean {sum(found) / len(found):.4f}, most {max(found):.4f}")
