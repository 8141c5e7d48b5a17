"""RSNA Pneumonia Detection Challenge 2018, stage 2 (Shih et al. 2019)."""

from pathlib import Path

import numpy as np
import pandas as pd

from prior.datasets import base
from prior.datasets.cells import require
from prior.datasets.nih_match import UNMATCHED, find_patients
from prior.datasets.raw_files import require_inside

IMAGES = "stage_2_train_images"
LABELS = "stage_2_train_labels.csv"
BOX = ["x", "y", "width", "height"]


def read(root: Path) -> base.RawDataset:
    """Read the training images and boxes; the test images of the challenge have no labels.

    The file names are image ids. Patients are known if the folder also says which NIH images these are
    (`nih_match.find_patients`); images without a reliable match are then dropped.

    Raises:
        InputError: a table, column, value or image file is missing or wrong.
    """
    base.require_folder(root, "rsna", f"{IMAGES}/ and {LABELS}")
    path = root / LABELS
    frame = base.read_csv(path, ["patientId", *BOX, "Target"])
    base.require_present(frame, "patientId", path)
    base.require_present(frame, "Target", path)
    base.require_values(frame, "Target", ("0", "1"), path)
    frame = base.to_numbers(frame, BOX, path)
    boxed = frame[BOX].notna().any(axis=1)
    require(~boxed | (frame["Target"] == "1"), frame, "Target", "1, though the row has a box", path)
    first = frame.groupby("patientId")["Target"].transform("first")
    require(frame["Target"] == first, frame, "Target", "what an earlier row of the image says", path)
    boxes = _boxes(frame, path)
    targets = frame.groupby("patientId", sort=False)["Target"].max().astype(float)
    match = find_patients(root, "patientId")
    patients = None if match is None else match[0]
    names = [name for name in targets.index if patients is None or name in patients]
    source = pd.Series([f"{IMAGES}/{name}.dcm" for name in names], dtype=str)
    require_inside(source, path)
    source = base.find_files(root, source)
    return base.RawDataset(
        name="rsna",
        layout="Kaggle stage 2 " + (f"with {match[1]}" if match else "without patient key"),
        root=root,
        images=_images(names, patients, source),
        labels=pd.DataFrame({"image_id": names, "Pneumonia": targets.loc[names].to_numpy()}),
        boxes=boxes[boxes["image_id"].isin(names)].reset_index(drop=True),
        patient_family=None if patients is None else "nih",
        dropped=[
            {"source": f"{IMAGES}/{name}.dcm", "reason": UNMATCHED}
            for name in targets.index
            if patients is not None and name not in patients
        ],
    )


def _boxes(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    positive = frame[frame["Target"] == "1"]
    boxes = pd.DataFrame(
        {
            "image_id": positive["patientId"],
            "label": "Pneumonia",
            "x_min": positive["x"],
            "y_min": positive["y"],
            "x_max": positive["x"] + positive["width"],
            "y_max": positive["y"] + positive["height"],
        }
    )
    base.require_boxes(boxes, path)
    return boxes


def _images(names: list[str], patients: dict[str, str] | None, source: pd.Series) -> pd.DataFrame:
    owners = pd.Series(names if patients is None else [patients[name] for name in names], dtype=str)
    return pd.DataFrame(
        {
            "image_id": names,
            "study_id": names,
            "patient_id": owners,
            "study_order": base.study_order(owners, pd.Series(names)),
            "view": None,
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": source,
        }
    )
