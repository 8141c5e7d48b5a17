"""MS-CXR beside MIMIC-CXR-JPG: for sentences that assert a finding, the boxes of its regions.

Writes the whole tree of the MIMIC-CXR writer, so that `mimic_cxr` and `ms_cxr` read the same folder, and the
annotations as csv and as COCO json.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.files import atomic_path, write_json
from prior.phantom.effects import Region
from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers import mimic_cxr
from prior.phantom.writers.common import spaced, token

Rows = dict[str, list[dict[str, Any]]]
HOSPITAL, STREAM, REPORTS = "mimic_cxr", 0, True
CATEGORIES = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Lung Opacity", "Pleural Effusion",
              "Pneumonia", "Pneumothorax")  # fmt: skip
STEM = "MS_CXR_Local_Alignment_v1.1.0"


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write image and report as MIMIC-CXR-JPG; return their ids and rows, and a row per box of a phrase."""
    image_id, study_id, rows = mimic_cxr.write_study(out, study, film, report, seed)
    record = rows["records"][0]
    height, width = film.image.shape
    split = ("train", "val", "test")[int(token(8, "ms_cxr", record["subject_id"]), 16) % 3]
    boxes = [
        {
            "dicom_id": record["dicom_id"], "category_name": category, "label_text": phrase,
            "path": record["path"].removesuffix(".dcm") + ".jpg", "x": x, "y": y, "w": w, "h": h,
            "image_width": width, "image_height": height, "split": split,
        }
        for category, phrase, region in grounded(film, report)
        for x, y, w, h in [box_of(region)]
    ]  # fmt: skip
    return image_id, study_id, rows | {"boxes": boxes}


def grounded(film: Film, report: Report | None) -> list[tuple[str, str, Region]]:
    """Return finding, sentence and region wherever a sentence asserts what is to be seen on the film."""
    found, told = [], set()
    for sentence in report.sentences if report else ():
        for code in sentence.meaning:
            kind, value, side = code.split("|")[:3]
            if value != "1" or spaced(kind) not in CATEGORIES or (kind, sentence.text) in told:
                continue
            told.add((kind, sentence.text))
            regions = [region for region in film.regions if region.label == kind]
            meant = [region for region in regions if side in ("", "bilateral", region.side)]
            found += [(spaced(kind), sentence.text, region) for region in meant if region.mask.any()]
    return found


def box_of(region: Region) -> tuple[int, int, int, int]:
    """Return x, y, w, h of the pixels of a region."""
    rows, columns = np.flatnonzero(region.mask.any(1)), np.flatnonzero(region.mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write MIMIC's tables and the annotations in both forms."""
    mimic_cxr.write_tables(out, rows, seed)
    boxes = pd.DataFrame(rows["boxes"])
    with atomic_path(out / f"{STEM}.csv") as path:
        boxes.to_csv(path, index=False)
    write_json(out / f"{STEM}.json", _coco(rows["boxes"]))


def _coco(boxes: list[dict[str, Any]]) -> dict[str, Any]:
    number = {path: k for k, path in enumerate(dict.fromkeys(box["path"] for box in boxes))}
    images = {
        box["path"]: {
            "id": number[box["path"]], "file_name": f"{box['dicom_id']}.jpg", "path": box["path"],
            "width": box["image_width"], "height": box["image_height"],
        }
        for box in boxes
    }  # fmt: skip
    annotations = [
        {
            "id": k, "image_id": number[box["path"]], "category_id": CATEGORIES.index(box["category_name"]),
            "bbox": [box[side] for side in "xywh"], "label_text": box["label_text"], "split": box["split"],
            "width": box["image_width"], "height": box["image_height"],
        }
        for k, box in enumerate(boxes)
    ]  # fmt: skip
    categories = [{"id": k, "name": name} for k, name in enumerate(CATEGORIES)]
    return {"categories": categories, "images": list(images.values()), "annotations": annotations}
