"""A user's own folder: images in a folder per patient, a csv with reports and findings, one with boxes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.files import atomic_path
from prior.phantom.archives import Rows
from prior.phantom.film import Film
from prior.phantom.findings import KINDS
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.common import spaced, write_jpeg

HOSPITAL, STREAM, REPORTS = "mimic_cxr", 11, True
BOXED = ("Pneumonia", "Consolidation", "Lung_Lesion")
SIDES = ("x_min", "y_min", "x_max", "y_max")


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one image; return its id (path without suffix, _ for /), its study and the table rows."""
    patient, visit = f"P{study.patient:04d}", f"V{study.index:05d}"
    path = f"scans/{patient}/{visit}.jpg"
    write_jpeg(out / path, film.image)
    present = {finding.kind for finding in study.findings}
    row: dict[str, Any] = {
        "path": path, "patient_id": patient, "study_id": visit, "view": study.pose.view,
        "sex": study.body.sex, "age": study.body.age, "report": "" if report is None else report.text,
        **{spaced(kind): int(kind in present) for kind in KINDS},
    }  # fmt: skip
    boxes = [
        {"path": path, "label": spaced(region.label), **dict(zip(SIDES, _bounds(region.mask), strict=True))}
        for region in film.regions
        if region.label in BOXED and region.mask.any()
    ]
    return path.removesuffix(".jpg").replace("/", "_"), visit, {"images": [row], "boxes": boxes}


def _bounds(mask: Any) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write images.csv and boxes.csv."""
    for name, columns in (("images", None), ("boxes", ["path", "label", *SIDES])):
        with atomic_path(out / f"{name}.csv") as path:
            pd.DataFrame(rows.get(name, []), columns=columns).to_csv(path, index=False)
