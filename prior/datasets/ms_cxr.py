"""MS-CXR: boxes for phrases of MIMIC-CXR reports (Boecking et al. 2022; v1.0.0, and v1.1.0 with a split).

The phrase is the label of its boxes, since records have no place of their own for it: all boxes of one image
with one label are the region of one phrase. The finding that it speaks of is a label of the image; findings
that no phrase names are not known, so they are missing, not absent.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.pixels import image_shape
from prior.datasets import base
from prior.datasets.cells import require
from prior.datasets.mimic_cxr import PREFIX, SPLITS, VIEWS
from prior.datasets.raw_files import read_json, require_inside, require_list, storable, whole_ids
from prior.errors import InputError

STEM = "MS_CXR_Local_Alignment_v"
FOLDERS = (".", "ms-cxr", "ms_cxr", "MS-CXR")
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Lung Opacity",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
)
SIDES = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation"}
SIDES |= {"validate": "validation", "test": "test"}
BOX = ["x", "y", "w", "h"]
SIZE = ["image_width", "image_height"]
COLUMNS = ["category_name", "label_text", "path", *BOX, *SIZE, "dicom_id"]
PATH = r"files/p\d{2}/p(?P<patient>\d+)/s(?P<study>\d+)/(?P<image>[^/]+)\.(?:jpg|JPG|jpeg|dcm)"


def read(root: Path) -> base.RawDataset:
    """Read the phrases from the csv or the COCO json, and the images from MIMIC-CXR-JPG's `files/` beside it.

    Patients, studies and images have the ids of `mimic_cxr`, and the same patient keys. Views and MIMIC's own
    split come from MIMIC's tables if these are in `root`; the notes count the images that MIMIC trains on.

    Raises:
        InputError: a file, column, value or image is missing or wrong, or an image was resized.
    """
    base.require_folder(root, "ms_cxr", f"{STEM}1.1.0.csv (or .json) and MIMIC-CXR-JPG's files/")
    path = _find(root)
    frame = _read_coco(path) if path.suffix == ".json" else base.read_csv(path, COLUMNS)
    rows = _checked(frame, path)
    images = _images(root, rows, path)
    boxes = _boxes(rows, path)
    pairs = rows[["image_id", "category_name", "label_text"]].drop_duplicates()
    metadata, split = _mimic_table(root, "metadata"), _mimic_table(root, "split")
    if metadata is not None:
        images["view"] = images["image_id"].map(metadata["ViewPosition"].map(VIEWS).fillna("OTHER"))
    notes: dict[str, Any] = {"pairs": len(pairs), "label of a box": "its phrase"}
    if split is not None:
        sides = images["image_id"].map(split["split"].map(SPLITS))
        notes["images by MIMIC's split"] = {str(side): int(n) for side, n in sides.value_counts().items()}
    return base.RawDataset(
        name="ms_cxr",
        layout=path.name,
        root=root,
        images=images,
        labels=_labels(images, pairs),
        boxes=boxes,
        patient_family="mimic",
        notes=notes,
    )


def _find(root: Path) -> Path:
    """Return the newest version of the annotations, csv before json."""
    for ending in ("csv", "json"):
        found = [path for name in FOLDERS for path in (root / name).glob(f"{STEM}*.{ending}")]
        if found:
            return max(found, key=lambda path: path.name)
    raise InputError(f"{root / STEM}1.1.0.csv (or .json) is missing; copy it beside MIMIC-CXR-JPG's files/")


def _read_coco(path: Path) -> pd.DataFrame:
    """Read the COCO json as the rows of the csv."""
    content = read_json(path)
    parts = {}
    for name, keys in (
        ("categories", ("id", "name")),
        ("images", ("id", "path", "width", "height")),
        ("annotations", ("image_id", "category_id", "bbox", "label_text")),
    ):
        if not isinstance(content, dict) or name not in content:
            raise InputError(f"{path} has no list {name!r}; use the file as released")
        parts[name] = require_list(content[name], keys, path, name)
    for name in ("categories", "images"):
        if len({str(item["id"]) for item in parts[name]}) < len(parts[name]):
            raise InputError(f"{path}: two entries of {name!r} have the same id; use the file as released")
    categories = {str(item["id"]): item["name"] for item in parts["categories"]}
    images = {str(item["id"]): item for item in parts["images"]}
    rows = []
    for position, item in enumerate(parts["annotations"]):
        image, box = images.get(str(item["image_id"])), item["bbox"]
        if image is None or str(item["category_id"]) not in categories:
            raise InputError(f"{path}: annotation {position} is of an image or category that is not listed")
        if not isinstance(box, list) or len(box) != 4:
            raise InputError(f"{path}: 'bbox' of annotation {position} is no list of x, y, w, h; correct it")
        values = [categories[str(item["category_id"])], item["label_text"], image["path"], *box]
        values += [image["width"], image["height"], Path(str(image["path"])).stem, item.get("split")]
        rows.append([None if value is None else storable(str(value)) for value in values])
    if not rows:
        raise InputError(f"{path} has no annotations; use the file as released")
    return pd.DataFrame(rows, columns=[*COLUMNS, "split"])


def _checked(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the rows with numbers as numbers and image_id, patient_id and study_id from their paths."""
    for name in COLUMNS:
        base.require_present(frame, name, path)
    base.require_values(frame, "category_name", FINDINGS, path)
    if "split" in frame:
        base.require_values(frame, "split", SIDES, path)
    frame = base.to_numbers(frame, [*BOX, *SIZE], path)
    require_inside(frame["path"], path)
    parts = frame["path"].str.extract(f"^{PATH}$")
    wrong = parts["image"].isna() | (parts["image"] != frame["dicom_id"])
    if wrong.any():
        raise InputError(
            f"{path}: path {frame.loc[wrong, 'path'].iloc[0]!r} is not files/pXX/pS/sT/<dicom_id>.jpg; "
            "use the file as released"
        )
    first = frame.groupby("dicom_id")["path"].transform("first")
    require(frame["path"] == first, frame, "path", "the path that an earlier row gives this image", path)
    return frame.assign(image_id=parts["image"], patient_id=parts["patient"], study_id=parts["study"])


def _images(root: Path, rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    first = rows.drop_duplicates("image_id").reset_index(drop=True)
    first["path"] = base.find_files(root, first["path"])
    for source, width, height in zip(first["path"], *(first[name] for name in SIZE), strict=True):
        found = image_shape(root / source)
        if found is not None and found != (height, width):
            raise InputError(
                f"{root / source} has {found[1]} x {found[0]} pixels, {path.name} says {width:g} x "
                f"{height:g}; boxes are in pixels of the originals: use images that were not resized"
            )
    images = pd.DataFrame(
        {
            "image_id": first["image_id"],
            "study_id": first["study_id"],
            "patient_id": first["patient_id"],
            "study_order": base.study_order(first["patient_id"], first["study_id"]),
            "view": None,
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": first["path"],
        }
    )
    return images.assign(official_split=first["split"].map(SIDES)) if "split" in first else images


def _boxes(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    boxes = pd.DataFrame(
        {
            "image_id": rows["image_id"],
            "label": rows["label_text"],
            "x_min": rows["x"],
            "y_min": rows["y"],
            "x_max": rows["x"] + rows["w"],
            "y_max": rows["y"] + rows["h"],
        }
    )
    base.require_boxes(boxes, path)
    return boxes.drop_duplicates().reset_index(drop=True)


def _labels(images: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    labels = {"image_id": images["image_id"]}
    for finding in FINDINGS:
        named = images["image_id"].isin(pairs.loc[pairs["category_name"] == finding, "image_id"])
        labels[finding.replace(" ", "_")] = pd.Series(np.where(named, 1.0, np.nan))
    return pd.DataFrame(labels)


def _mimic_table(root: Path, kind: str) -> pd.DataFrame | None:
    """Return MIMIC's table `kind` by dicom_id, or None if it is not in `root`."""
    stem = f"{PREFIX}-{kind}"
    if not any((root / f"{stem}.csv{ending}").is_file() for ending in ("", ".gz")):
        return None
    path = base.find_csv(root, stem, "ms_cxr")
    frame = base.read_csv(path, ["dicom_id", "ViewPosition" if kind == "metadata" else "split"])
    return (
        frame.assign(dicom_id=whole_ids(frame["dicom_id"])).drop_duplicates("dicom_id").set_index("dicom_id")
    )
