"""The small NIH folder of `real_small` with its Open-i archive: a table of findings, boxes and lesion masks.

The films are those of the RSNA writer. ChestX-Det read a third of the patients (masks and boxes), NIH boxed
another third; the reports are those of the same studies as unconnected Open-i examinations.
"""

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from prior.data.files import atomic_path
from prior.phantom.archives import Rows
from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.boxes import bounds
from prior.phantom.writers.common import nih_image, token, write_jpeg
from prior.phantom.writers.iu_xray import report_xml, sections, tags
from prior.phantom.writers.nih_chestxray14 import nih_labels
from prior.phantom.writers.rsna import FIRST_PATIENT

HOSPITAL, STREAM, REPORTS = "rsna", 0, True
FOLDER = "nih_chestxray14"
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
CHESTX_DET, NIH_BOXES = "ChestX-Det", "NIH_BBox_2017"


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one JPEG and the masks of its lesions; return its name without ending and its table rows."""
    stem = nih_image(study.patient, study.order, FIRST_PATIENT).removesuffix(".png")
    image = f"images/{stem}.jpg"
    write_jpeg(out / FOLDER / image, film.image)
    labels = {label for finding in study.findings for label in nih_labels(finding)}
    reader = int(token(8, "nih_small", study.patient), 16) % 3  # 0 ChestX-Det, 1 NIH's boxes, 2 nobody
    origin = {0: CHESTX_DET, 1: NIH_BOXES}.get(reader)
    marked = [region for region in film.regions if region.label in FINDINGS and region.mask.any() and origin]
    found = "|".join(sorted({region.label for region in marked})) or "none"
    height, width = film.image.shape
    row: dict[str, Any] = {
        "image": image, "nih_index": f"{stem}.png", "patient_id": FIRST_PATIENT + study.patient,
        "follow_up": study.order, "age": study.body.age, "sex": study.body.sex, "view": study.pose.view,
        "w": width, "h": height, "finding_labels": "|".join(sorted(labels)) or "No Finding",
        **{name: int(name in labels) for name in FINDINGS}, "No_Finding": int(not labels),
        "chestx_det": found if origin == CHESTX_DET else "", "chestx_det_split": "",
    }  # fmt: skip
    rows: Rows = {"labels": [row], "boxes": [], "masks": []}
    for number, region in enumerate(marked):
        left, top, right, bottom = bounds(region.mask)
        sides = {"x": left, "y": top, "w": right - left, "h": bottom - top}
        rows["boxes"].append({"image": image, "source": origin, "label": region.label, **sides})
        if origin == CHESTX_DET:
            mask = f"masks/{stem}__{region.label.lower()}_{number}.png"
            with atomic_path(out / FOLDER / mask) as path:
                Image.fromarray(np.uint8(255) * region.mask).save(path)
            fact = {"mask": mask, "area": round(float(region.mask.mean()), 6)}
            rows["masks"].append({"image": image, "source": origin, "label": region.label, **fact})
    findings, impression = sections(study, report)
    text = {"uid": study.index + 1, "findings": findings, "impression": impression, "major": tags(study)}
    return stem, stem, rows | {"reports": [text]}


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write the three tables and the archive of reports."""
    columns = {"boxes": ["image", "source", "label", "x", "y", "w", "h"]}
    columns["masks"] = ["image", "source", "label", "mask", "area"]
    for name in ("labels", "boxes", "masks"):
        with atomic_path(out / FOLDER / f"{name}.csv") as path:
            pd.DataFrame(rows.get(name, []), columns=columns.get(name)).to_csv(path, index=False)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for text in rows["reports"]:
            content = report_xml(text["uid"], text["findings"], text["impression"], text["major"], [])
            member = tarfile.TarInfo(f"ecgen-radiology/{text['uid']}.xml")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with atomic_path(out / "open_i" / "NLMCXR_reports.tgz") as path:
        path.write_bytes(gzip.compress(packed.getvalue(), mtime=0))
