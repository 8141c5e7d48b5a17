"""A user's own folder: images in a folder per patient, a csv with reports and findings, one with boxes."""

from pathlib import Path
from typing import Any

import pandas as pd

from prior.data.files import atomic_path
from prior.phantom.archives import Rows
from prior.phantom.film import Film
from prior.phantom.findings import KINDS
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.boxes import SIDES, bounds
from prior.phantom.writers.common import spaced, write_jpeg

HOSPITAL, STREAM, REPORTS = "mimic_cxr", 11, True
BOXED = ("Pneumonia", "Consolidation", "Lung_Lesion")


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
        {"path": path, "label": spaced(region.label), **dict(zip(SIDES, bounds(region.mask), strict=True))}
        for region in film.regions
        if region.label in BOXED and region.mask.any()
    ]
    return path.removesuffix(".jpg").replace("/", "_"), visit, {"images": [row], "boxes": boxes}


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write images.csv and, if anything was boxed, boxes.csv."""
    for name in [name for name, found in rows.items() if found]:
        with atomic_path(out / f"{name}.csv") as path:
            pd.DataFrame(rows[name]).to_csv(path, index=False)
