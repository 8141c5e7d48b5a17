"""NIH ChestX-ray14: numbered PNG files in twelve folders, two tables with broken headers, official lists.

The films are those of the RSNA writer: RSNA drew from NIH, and its `nih_patient_map.csv` names these files.
Findings that NIH does not label (fractures, devices) are in no table.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from prior.data.files import atomic_path, write_text
from prior.phantom.archives import Rows
from prior.phantom.film import Film
from prior.phantom.findings import Finding
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.boxes import bounds
from prior.phantom.writers.common import nih_image, token
from prior.phantom.writers.rsna import FIRST_PATIENT

HOSPITAL, STREAM, REPORTS = "rsna", 0, False
ENTRY_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
BOXED = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
)
FRAME = 1024
BOX_SHARE, TEST_SHARE = 60, 23


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one image; return its name without suffix as image and study id, and its table rows."""
    name = nih_image(study.patient, study.order, FIRST_PATIENT)
    path = out / f"images_{study.patient % 12 + 1:03d}" / "images" / name
    with atomic_path(path) as temporary:
        Image.fromarray(film.image).save(temporary)
    labels = sorted({label for finding in study.findings for label in nih_labels(finding)})
    height, width = film.image.shape
    entry = [
        name, "|".join(labels) or "No Finding", study.order, FIRST_PATIENT + study.patient,
        f"{study.body.age:03d}Y", study.body.sex, study.pose.view, width, height, 0.143, 0.143,
    ]  # fmt: skip
    test = percent("nih list", seed, study.patient) < TEST_SHARE
    rows: Rows = {"entries": [{"row": entry}], "test" if test else "train_val": [{"name": name}]}
    if test and percent("nih boxes", seed, study.index) < BOX_SHARE:
        rows["boxes"] = [{"row": [name, *box]} for box in _boxes(study, film)]
    stem = name.removesuffix(".png")
    return stem, stem, rows


def percent(*key: object) -> int:
    """A stable number 0..99 for `key`."""
    return int(token(8, *key), 16) % 100


def nih_labels(finding: Finding) -> tuple[str, ...]:
    """NIH's words for a finding; faint pneumonia is called an infiltration beside it."""
    if finding.kind == "Pleural_Effusion":
        return ("Effusion",)
    if finding.kind == "Lung_Lesion":
        return ("Nodule" if finding.severity < 0.5 else "Mass",)
    if finding.kind == "Pneumonia" and finding.severity < 0.5:
        return ("Pneumonia", "Infiltration")
    return () if finding.kind in ("Fracture", "Support_Devices") else (finding.kind,)


def _boxes(study: Study, film: Film) -> list[list[Any]]:
    """Boxes in the frame of 1024 pixels a side that NIH drew in, whatever the size of the file."""
    scale = FRAME / np.array(film.image.shape)
    found: list[list[Any]] = []
    for finding in study.findings:
        for region in [region for region in film.regions if region.label == finding.kind]:
            if not region.mask.any():
                continue
            sides = np.array(bounds(region.mask)) * np.array([scale[1], scale[0], scale[1], scale[0]])
            box = [round(float(side), 4) for side in (*sides[:2], *(sides[2:] - sides[:2]))]
            for label in [label for label in nih_labels(finding) if label in BOXED]:
                spelled = "Infiltrate" if label == "Infiltration" else label
                found.append([spelled, *box])
    return found


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write Data_Entry_2017.csv, BBox_List_2017.csv, train_val_list.txt and test_list.txt."""
    tables = (
        ("Data_Entry_2017.csv", ENTRY_HEADER, "entries", ","),
        ("BBox_List_2017.csv", BOX_HEADER, "boxes", ",,,"),
    )
    for file, header, table, ending in tables:
        lines = [",".join(map(str, item["row"])) + ending for item in rows.get(table, [])]
        if lines:
            write_text(out / file, "\n".join([header, *sorted(lines)]) + "\n")
    for name in ("train_val", "test"):
        names = sorted(item["name"] for item in rows.get(name, []))
        write_text(out / f"{name}_list.txt", "\n".join(names) + "\n")
