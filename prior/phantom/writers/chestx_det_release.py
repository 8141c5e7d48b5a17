"""ChestX-Det as released: NIH images of RSNA's patients, two json lists with boxes and polygons.

Files have numbers for names; `nih_patient_map.csv` (file_name, nih_image, error): see the RSNA writer.

Polygons run along the upper and lower edge of a finding, column by column.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from prior.data.files import atomic_path, write_json
from prior.phantom.effects import Region
from prior.phantom.film import Film
from prior.phantom.hospital import Study, generator
from prior.phantom.report import Report
from prior.phantom.writers.common import nih_image, token
from prior.phantom.writers.rsna import FIRST_PATIENT

Rows = dict[str, list[dict[str, Any]]]
HOSPITAL, STREAM, REPORTS = "rsna", 0, False
FIRST_FILE = 36_199
CLASSES = {
    "Atelectasis": "Atelectasis", "Cardiomegaly": "Cardiomegaly", "Consolidation": "Consolidation",
    "Pleural_Effusion": "Effusion", "Fracture": "Fracture", "Lung_Lesion": "Nodule",
    "Pneumothorax": "Pneumothorax",
}  # fmt: skip


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one PNG; return its name and its entry of the train (three in four patients) or test list."""
    part = "test" if int(token(8, "chestx_det", study.patient), 16) % 4 == 0 else "train"
    name = f"{FIRST_FILE + study.index}.png"
    with atomic_path(out / f"{part}_data" / name) as path:
        Image.fromarray(film.image).save(path)
    marked = [region for region in film.regions if region.label in CLASSES and region.mask.any()]
    entry = {
        "file_name": name, "syms": [CLASSES[region.label] for region in marked],
        "boxes": [box_of(region) for region in marked],
        "polygons": [outline(region.mask) for region in marked],
    }  # fmt: skip
    image = name.removesuffix(".png")
    error = round(float(generator(seed, HOSPITAL, 4, study.index).gamma(8, 0.25)), 3)
    origin = nih_image(study.patient, study.order, FIRST_PATIENT)
    match = {"file_name": name, "nih_image": origin, "error": error}
    return image, image, {part: [entry], "matches": [match]}


def box_of(region: Region) -> list[int]:
    """Return left, top, right, bottom of the pixels of a region."""
    rows, columns = np.flatnonzero(region.mask.any(1)), np.flatnonzero(region.mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def outline(mask: NDArray[np.bool_]) -> list[list[int]]:
    """Return the points of a polygon around a mask [H, W]: its upper edge, and its lower edge backwards."""
    height, columns = mask.shape[0], np.flatnonzero(mask.any(0))
    top = mask.argmax(0)[columns]
    bottom = height - mask[::-1].argmax(0)[columns]
    upper = [[int(x) + step, int(y)] for x, y in zip(columns, top, strict=True) for step in (0, 1)]
    lower = [[int(x) + step, int(y)] for x, y in zip(columns, bottom, strict=True) for step in (0, 1)]
    return upper + lower[::-1]


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write both lists and the match."""
    with atomic_path(out / "nih_patient_map.csv") as path:
        pd.DataFrame(rows["matches"]).to_csv(path, index=False)
    for part in ("train", "test"):
        write_json(out / f"ChestX_Det_{part}.json", rows.get(part, []))
