"""SIIM-ACR Pneumothorax: DICOM with relative column-major run lengths, or PNG with masks; NIH match.

Stage 1 has a tree of UIDs, `stage_2` one folder of other names, `png` images and masks with stage 1's ids.

`nih_patient_map.csv` (ImageId, nih_image, error): see the RSNA writer.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from prior.data.files import atomic_path
from prior.phantom.film import Film
from prior.phantom.hospital import Study, generator
from prior.phantom.report import Report
from prior.phantom.writers.common import nih_image, token
from prior.phantom.writers.dicom import write_dicom

Rows = dict[str, list[dict[str, Any]]]
COLUMN = " EncodedPixels"
PNG_FOLDER, LISTED = "siim-acr-pneumothorax", ["new_filename", "ImageId", "has_pneumo"]
FIRST_PATIENT = 15_001
HOSPITAL, STREAM, REPORTS = "siim", 0, False


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int, layout: str = "stage_1"
) -> tuple[str, str, Rows]:
    """Write one film; return its ImageId, study UID and table rows."""
    tail = f"8323329.{study.index + 300}.{1517875160 + study.index}.{seed % 99991 + 100000}"
    root = f"1.2.276.0.7230010.3.1.{{}}.{tail}"
    uids = (root.format(2), root.format(3), root.format(4))
    if layout == "png":
        return _write_png(out, study, film, uids[2])
    name, path = uids[2], out / "dicom-images-train" / uids[0] / uids[1] / f"{uids[2]}.dcm"
    if layout == "stage_2":
        name = f"ID_{token(9, 'siim', seed, study.index)}"
        path = out / "stage_2_images" / f"{name}.dcm"
    write_dicom(path, film.image, uids, uids[2], study.body.sex, study.body.age, study.pose.view)
    rng = generator(seed, "siim", 3, study.index)
    masks = [part for r in film.regions if r.label == "Pneumothorax" for part in _annotators(r.mask, rng)]
    codes = [encode(m) for m in masks] or ["-1"]
    match = {
        "ImageId": name, "nih_image": nih_image(study.patient, study.order, FIRST_PATIENT),
        "error": round(float(rng.gamma(8, 0.25)), 3),
    }  # fmt: skip
    rle = [{"ImageId": name, COLUMN: code} for code in codes]
    return name, uids[0], {"rle": rle, "matches": [match]}


def _write_png(out: Path, study: Study, film: Film, name: str) -> tuple[str, str, Rows]:
    """Write image and mask of the PNG copy; every ninth patient is on its test list."""
    mask = np.zeros(film.image.shape, dtype=bool)
    for region in film.regions:
        if region.label == "Pneumothorax":
            mask |= region.mask
    side = "test" if study.patient % 9 == 0 else "train"
    file = f"{study.index}_{side}_{int(mask.any())}_.png"
    for folder, pixels in (("png_images", film.image), ("png_masks", np.uint8(255) * mask)):
        with atomic_path(out / PNG_FOLDER / folder / file) as path:
            Image.fromarray(pixels).save(path)
    row = {"new_filename": file, "ImageId": name, "has_pneumo": int(mask.any())}
    return name, name, {side: [row]}


def _annotators(mask: NDArray[np.bool_], rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Cut a mask into one to three rows; rows overlap a little, their union is the mask."""
    parts = int(rng.choice([1, 2, 3], p=[0.78, 0.17, 0.05]))
    lines = np.flatnonzero(mask.any(1))
    if parts == 1 or len(lines) < 4 * parts:
        return [mask]
    cuts = np.linspace(lines[0], lines[-1] + 1, parts + 1).astype(int)
    pieces = []
    for top, bottom in pairwise(cuts):
        piece = np.zeros_like(mask)
        piece[max(top - 1, 0) : bottom] = mask[max(top - 1, 0) : bottom]
        pieces.append(piece)
    return pieces


def encode(mask: NDArray[np.bool_]) -> str:
    """Run lengths of a mask [H, W] down the columns; each offset counts from the end of the previous run."""
    flat = np.r_[False, mask.T.reshape(-1), False]
    starts, ends = np.flatnonzero(~flat[:-1] & flat[1:]), np.flatnonzero(flat[:-1] & ~flat[1:])
    offsets = starts - np.r_[0, ends[:-1]]
    return " ".join(f"{o} {n}" for o, n in zip(offsets, ends - starts, strict=True))


def write_tables(out: Path, rows: Rows, seed: int, layout: str = "stage_1") -> None:
    """Write the tables of the layout; only in stage 1 does the second header begin with a space."""
    if layout == "png":
        files = {side: f"{PNG_FOLDER}/stage_1_{side}_images.csv" for side in ("train", "test")}
    else:
        files = {"rle": "train-rle.csv", "matches": "nih_patient_map.csv"}
    if layout == "stage_2":
        files["rle"] = "stage_2_train.csv"
    for name, file in files.items():
        frame = pd.DataFrame(rows.get(name, []), columns=LISTED if layout == "png" else None)
        frame = frame.rename(columns=str.strip) if layout == "stage_2" else frame
        with atomic_path(out / file) as path:
            frame.to_csv(path, index=False)
