"""RSNA Pneumonia, Kaggle stage 2: DICOM files, box table, class table, and a match to NIH patients.

`nih_patient_map.csv` (patientId, nih_image, error) stands for the nearest-image match of torchxrayvision: the
first part of `nih_image` is the patient, and an error above 10 marks a match not to be trusted.
"""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.files import atomic_path
from prior.phantom.film import Film
from prior.phantom.hospital import Study, generator
from prior.phantom.report import Report
from prior.phantom.writers.common import nih_image, token
from prior.phantom.writers.dicom import write_dicom

Rows = dict[str, list[dict[str, Any]]]
OPACITIES = ("Pneumonia", "Consolidation")
LEAST_AREA = 0.002
FIRST_PATIENT = 1


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one film; return its patientId (an image id, as in the original) and table rows."""
    name = str(uuid.UUID(token(32, "rsna", seed, study.index)))
    root = (
        f"1.2.276.0.7230010.3.1.{{}}.8323329.{study.index + 1000}.{1517874000 + study.index}.{seed % 99991}"
    )
    uids = (root.format(2), root.format(3), root.format(4))
    body = study.body
    write_dicom(
        out / "stage_2_train_images" / f"{name}.dcm",
        film.image,
        uids,
        name,
        body.sex,
        body.age,
        study.pose.view,
    )
    boxes = _boxes(film)
    blank = {"x": None, "y": None, "width": None, "height": None}
    labels = [{"patientId": name, **(box or blank), "Target": int(bool(box))} for box in boxes or [{}]]
    kind = "Lung Opacity" if boxes else "No Lung Opacity / Not Normal" if study.findings else "Normal"
    classes = [{"patientId": name, "class": kind} for _ in labels]
    error = float(generator(seed, "rsna", 3, study.index).gamma(8, 0.25))
    if study.index % 270 == 269:
        error += 20
    match = {
        "patientId": name,
        "nih_image": nih_image(study.patient, study.order, FIRST_PATIENT),
        "error": round(error, 3),
    }  # fmt: skip
    return name, name, {"labels": labels, "classes": classes, "matches": [match]}


def _boxes(film: Film) -> list[dict[str, float]]:
    """Boxes around the opacities, one per lung, in pixels of the written film."""
    found = []
    for region in film.regions:
        if region.label in OPACITIES and region.mask.mean() >= LEAST_AREA:
            rows, columns = np.flatnonzero(region.mask.any(1)), np.flatnonzero(region.mask.any(0))
            x, y = float(columns[0]), float(rows[0])
            found.append({"x": x, "y": y, "width": columns[-1] + 1 - x, "height": rows[-1] + 1 - y})
    return found


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write the label, class and match tables."""
    for name, file in (
        ("labels", "stage_2_train_labels.csv"),
        ("classes", "stage_2_detailed_class_info.csv"),
        ("matches", "nih_patient_map.csv"),
    ):
        frame = pd.DataFrame(rows[name]).sort_values("patientId", kind="stable")
        with atomic_path(out / file) as path:
            frame.to_csv(path, index=False)
