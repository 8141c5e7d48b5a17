"""The small NIH ChestX-ray14 folder that three readers share (Wang et al., CVPR 2017)."""

from pathlib import Path

import pandas as pd

from prior.datasets import base
from prior.datasets.cells import require
from prior.datasets.raw_files import require_inside, whole_ids

FOLDER = "nih_chestxray14"
FAMILY = "nih"
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
    "No_Finding",
)
CHESTX_DET, NIH_BOXES = "ChestX-Det", "NIH_BBox_2017"
COLUMNS = ["image", "patient_id", "follow_up", "age", "sex", "view", "w", "h", "chestx_det", *FINDINGS]


def read_table(root: Path, dataset: str) -> pd.DataFrame:
    """Read `labels.csv` with image_id added and w, h as numbers.

    Raises:
        InputError: the folder, table, a column or an image is missing.
    """
    base.require_folder(root / FOLDER, dataset, "images/ and labels.csv")
    path = table_path(root)
    frame = base.read_csv(path, COLUMNS)
    for name in ("image", "patient_id", "w", "h"):
        base.require_present(frame, name, path)
    base.require_unique(frame, "image", path)
    base.require_values(frame, "view", ("AP", "PA"), path)
    base.require_values(frame, "sex", ("F", "M"), path)
    base.to_ages(frame, "age", path)
    frame = base.to_numbers(frame, ["follow_up", "age", "w", "h"], path)
    require_inside(frame["image"], path)
    frame["image"] = base.find_files(root / FOLDER, frame["image"])
    frame["patient_id"] = whole_ids(frame["patient_id"])
    return frame.assign(image_id=image_ids(frame["image"]))


def table_path(root: Path) -> Path:
    """Return the path of the table of images."""
    return root / FOLDER / "labels.csv"


def image_ids(files: pd.Series) -> pd.Series:
    """Return `00000061_012` of `images/00000061_012.jpg`."""
    return files.str.rsplit("/", n=1).str[-1].str.rsplit(".", n=1).str[0]


def image_records(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the image records of rows of `read_table`; every image is a study of its own."""
    return pd.DataFrame(
        {
            "image_id": frame["image_id"],
            "study_id": frame["image_id"],
            "patient_id": frame["patient_id"],
            "study_order": base.study_order(frame["patient_id"], frame["follow_up"], frame["image_id"]),
            "view": frame["view"],
            "sex": frame["sex"],
            "age": frame["age"],
            "site": None,
            "source": FOLDER + "/" + frame["image"],
        }
    ).reset_index(drop=True)


def require_listed(frame: pd.DataFrame, known: pd.Series, path: Path) -> None:
    """Stop if column `image` of `frame` names an image that is not in `known`, ids of `read_table`."""
    base.require_present(frame, "image", path)
    require(image_ids(frame["image"]).isin(known), frame, "image", "an image of labels.csv", path)


def read_boxes(root: Path, known: pd.Series) -> pd.DataFrame:
    """Read `boxes.csv` as image_id, origin, label, x_min, y_min, x_max, y_max.

    Args:
        root: raw folder.
        known: image_id of all rows of `read_table`.

    Raises:
        InputError: the table, a column or a cell is missing or wrong.
    """
    path = root / FOLDER / "boxes.csv"
    frame = base.read_csv(path, ["image", "source", "label", "x", "y", "w", "h"])
    require_listed(frame, known, path)
    for name in ("source", "label"):
        base.require_present(frame, name, path)
    base.require_values(frame, "source", (CHESTX_DET, NIH_BOXES), path)
    frame = base.to_numbers(frame, ["x", "y", "w", "h"], path)
    boxes = pd.DataFrame(
        {
            "image_id": image_ids(frame["image"]),
            "origin": frame["source"],
            "label": frame["label"],
            "x_min": frame["x"],
            "y_min": frame["y"],
            "x_max": frame["x"] + frame["w"],
            "y_max": frame["y"] + frame["h"],
        }
    )
    base.require_boxes(boxes, path)
    return boxes
