"""Paediatric pneumonia, bacterial against viral (Kermany et al. 2018)."""

from pathlib import Path

import numpy as np
import pandas as pd

from prior.datasets import base
from prior.datasets.png_masks import read_mask
from prior.datasets.raw_files import require_inside, whole_ids

FOLDER = "kermany_pneumonia"
FAMILY = "kermany"
SUBTYPES = ("normal", "bacteria", "virus")


def read(root: Path) -> base.RawDataset:
    """Read the images with pneumonia; normal images are left out because they are told apart too easily.

    Raises:
        InputError: a folder, table, column, value or image file is missing or wrong.
    """
    frame = read_table(root, "kermany")
    chosen = frame[frame["subtype"] != "normal"].reset_index(drop=True)
    labels = pd.DataFrame(
        {
            "image_id": chosen["image_id"],
            "Bacterial_Pneumonia": (chosen["subtype"] == "bacteria").astype(float),
        }
    )
    return base.RawDataset(
        name="kermany",
        layout=FOLDER,
        root=root,
        images=image_records(chosen),
        labels=labels,
        patient_family=FAMILY,
        dropped=[
            {"source": str(source), "reason": "normal image"}
            for source in frame.loc[frame["subtype"] == "normal", "image"]
        ],
    )


def read_table(root: Path, dataset: str) -> pd.DataFrame:
    """Read `labels.csv` with image_id added and w, h as numbers."""
    base.require_folder(root / FOLDER, dataset, "images/, lung_masks/ and labels.csv")
    path = root / FOLDER / "labels.csv"
    frame = base.read_csv(path, ["image", "subtype", "patient_id", "w", "h", "lung_mask"])
    for name in ("image", "subtype", "patient_id", "w", "h"):
        base.require_present(frame, name, path)
    base.require_unique(frame, "image", path)
    base.require_values(frame, "subtype", SUBTYPES, path)
    frame = base.to_numbers(frame, ["w", "h"], path)
    for name in ("image", "lung_mask"):
        require_inside(frame[name].dropna(), path)
    frame["image"] = base.find_files(root / FOLDER, frame["image"])
    frame["patient_id"] = whole_ids(frame["patient_id"])
    return frame.assign(image_id=frame["image"].str.rsplit("/", n=1).str[-1].str.rsplit(".", n=1).str[0])


def image_records(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the image records of rows of `read_table`."""
    return pd.DataFrame(
        {
            "image_id": frame["image_id"],
            "study_id": frame["image_id"],
            "patient_id": frame["patient_id"],
            "study_order": base.study_order(frame["patient_id"], frame["image_id"]),
            "view": None,
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": FOLDER + "/" + frame["image"],
        }
    )


def read_masks(root: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Read the lung masks of the given rows."""
    rows = [
        (image, "Lungs", read_mask(root / FOLDER / mask, int(height), int(width)))
        for image, mask, height, width in zip(
            frame["image_id"], frame["lung_mask"], frame["h"], frame["w"], strict=True
        )
    ]
    return pd.DataFrame(rows, columns=["image_id", "label", "rle"], dtype=str)
