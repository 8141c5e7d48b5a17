"""CheXpert v1.0 small: patient tree with train.csv and valid.csv.

Labels are the truth, with the blanks and the -1 of the original: what is faint is often called uncertain, and
what is absent is often not mentioned. One film in two shows exactly one of the five competition findings, so
that a 5x200 selection by GLoRIA's rule (one finding, all others free of 1 and -1) is possible from about
2,200 images on.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.files import atomic_path
from prior.phantom.film import Film
from prior.phantom.findings import COMMON, RARE, SINGLES
from prior.phantom.hospital import Study, generator
from prior.phantom.lateral import lateral_of
from prior.phantom.report import Report
from prior.phantom.writers.common import (
    CHEXPERT_LABELS,
    opacity_named,
    shuffled_number,
    spaced,
    token,
    write_jpeg,
)

Rows = dict[str, list[dict[str, Any]]]
ROOT = "CheXpert-v1.0-small"
VALID_SHARE = 8


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write a study's images; return the frontal one's path as id, the folder as study id, and table rows."""
    number = shuffled_number(study.patient, 1, 99_991, seed)
    valid = int(token(8, "valid", seed, study.patient), 16) % 100 < VALID_SHARE
    part = "valid" if valid else "train"
    folder = f"{ROOT}/{part}/patient{number:05d}/study{study.order + 1}"
    path = f"{folder}/view1_frontal.jpg"
    write_jpeg(out / path, film.image)
    row = {
        "Path": path, "Sex": "Male" if study.body.sex == "M" else "Female", "Age": study.body.age,
        "Frontal/Lateral": "Frontal", "AP/PA": study.pose.view, **_labels(study, valid, seed),
    }  # fmt: skip
    lateral = lateral_of(study, "chexpert", film.image.shape[0], seed)
    if lateral is None:
        return path, folder, {part: [row]}
    beside = f"{folder}/view2_lateral.jpg"
    write_jpeg(out / beside, lateral)
    return path, folder, {part: [row, row | {"Path": beside, "Frontal/Lateral": "Lateral", "AP/PA": None}]}


def _labels(study: Study, valid: bool, seed: int) -> dict[str, float | None]:
    rng = generator(seed, "chexpert", 3, study.index)
    severity = {f.kind: f.severity for f in study.findings}
    row: dict[str, float | None] = dict.fromkeys(CHEXPERT_LABELS, 0.0 if valid else None)
    for kind in COMMON:
        if kind in severity:
            row[spaced(kind)] = 1.0
        elif not valid and rng.random() < (0.18 if kind in SINGLES else 0.05):
            row[spaced(kind)] = 0.0
    row |= {spaced(kind): 1.0 for kind in RARE if kind in severity}
    if opacity_named(study.findings):
        row["Lung Opacity"] = 1.0
    if not [k for k in severity if k != "Support_Devices"]:
        row["No Finding"] = 1.0
    return row if valid else _uncertain(row, severity, rng)


def _uncertain(
    row: dict[str, float | None], severity: dict[str, float], rng: np.random.Generator
) -> dict[str, float | None]:
    """Turn some faint positives, and a few absences in the sick, into -1."""
    for kind in COMMON[:-1]:
        doubtful = 0.25 if severity.get(kind, 1.0) < 0.3 else 0.03 if kind in severity else 0.006
        if rng.random() < doubtful and row["No Finding"] is None:
            row[spaced(kind)] = -1.0
    return row


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write train.csv and valid.csv."""
    for part in ("train", "valid"):
        columns = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS]
        frame = pd.DataFrame(rows.get(part, []), columns=columns).sort_values("Path", kind="stable")
        with atomic_path(out / ROOT / f"{part}.csv") as path:
            frame.to_csv(path, index=False)
