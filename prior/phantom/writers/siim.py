"""SIIM-ACR Pneumothorax, stage 1: DICOM files in a UID tree, relative column-major run lengths, NIH match.

`nih_patient_map.csv` (ImageId, nih_image, error): see the RSNA writer.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.files import atomic_path
from prior.phantom.film import Film
from prior.phantom.hospital import Study, generator
from prior.phantom.report import Report
from prior.phantom.writers.common import nih_image
from prior.phantom.writers.dicom import write_dicom

Rows = dict[str, list[dict[str, Any]]]
COLUMN = " EncodedPixels"
FIRST_PATIENT = 15_001


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one film; return its ImageId, study UID and table rows."""
    tail = f"8323329.{study.index + 300}.{1517875160 + study.index}.{seed % 99991 + 100000}"
    root = f"1.2.276.0.7230010.3.1.{{}}.{tail}"
    uids = (root.format(2), root.format(3), root.format(4))
    path = out / "dicom-images-train" / uids[0] / uids[1] / f"{uids[2]}.dcm"
    write_dicom(path, film.image, uids, uids[2], study.body.sex, study.body.age, study.pose.view)
    rng = generator(seed, "siim", 3, study.index)
    masks = [part for r in film.regions if r.label == "Pneumothorax" for part in _annotators(r.mask, rng)]
    codes = [encode(m) for m in masks] or ["-1"]
    match = {
        "ImageId": uids[2], "nih_image": nih_image(study.patient, study.order, FIRST_PATIENT),
        "error": round(float(rng.gamma(8, 0.25)), 3),
    }  # fmt: skip
    return (
        uids[2],
        uids[0],
        {"rle": [{"ImageId": uids[2], COLUMN: code} for code in codes], "matches": [match]},
    )


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


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write train-rle.csv (its second header begins with a space, as in the original) and the match table."""
    for name, file in (("rle", "train-rle.csv"), ("matches", "nih_patient_map.csv")):
        with atomic_path(out / file) as path:
            pd.DataFrame(rows[name]).to_csv(path, index=False)
