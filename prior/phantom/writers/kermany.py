"""The small Kermany folder of `real_small`: a table, images, and lung masks of most of them.

A consolidation stands for a bacterial, a patchy pneumonia for a viral one, as in the writer of the release;
films with a raised diaphragm (atelectasis) or other findings only are not written. The films are of adults.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from prior.data.files import atomic_path
from prior.phantom.archives import Rows
from prior.phantom.film import Film
from prior.phantom.hospital import Study, generator
from prior.phantom.report import Report
from prior.phantom.thorax import build_scene
from prior.phantom.writers.common import token, write_jpeg

HOSPITAL, STREAM, REPORTS = "rsna", 2_000_003, False
FOLDER = "kermany_pneumonia"


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one JPEG and, for nine of ten, its lung mask; return its name without ending and its row."""
    kinds = {finding.kind for finding in study.findings}
    subtype = "bacteria" if "Consolidation" in kinds else "virus" if "Pneumonia" in kinds else "normal"
    patient = f"person{study.patient + 1}" if kinds else f"IM-{study.patient + 1:04d}"
    name = f"{patient}_{subtype}_{study.index + 1}"
    if "Atelectasis" in kinds or (kinds and subtype == "normal"):
        return name, name, {}
    write_jpeg(out / FOLDER / "images" / f"{name}.jpg", film.image)
    height, width = film.image.shape
    masked = int(token(8, "lungs", study.index), 16) % 10 > 0
    if masked:
        with atomic_path(out / FOLDER / "lung_masks" / f"{name}.png") as path:
            Image.fromarray(np.uint8(255) * lungs(study, seed + STREAM, height)).save(path)
    row: dict[str, Any] = {
        "image": f"images/{name}.jpg", "label": "NORMAL" if subtype == "normal" else "PNEUMONIA",
        "subtype": subtype, "patient_id": patient, "orig_w": width, "orig_h": height, "w": width, "h": height,
        "lung_mask": f"lung_masks/{name}.png" if masked else "",
    }  # fmt: skip
    return name, name, {"labels": [row]}


def lungs(study: Study, seed: int, size: int) -> NDArray[np.bool_]:
    """Return the lungs [size, size] of a film without atelectasis, from the draws of that film."""
    rng = generator(seed, HOSPITAL, 1, study.index)
    mask: NDArray[np.bool_] = build_scene(study.body, study.pose, size, rng, study.body.heart, {}).lung > 0.5
    return mask


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write labels.csv."""
    with atomic_path(out / FOLDER / "labels.csv") as path:
        pd.DataFrame(rows["labels"]).to_csv(path, index=False)
