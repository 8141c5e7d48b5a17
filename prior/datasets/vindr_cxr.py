"""VinDr-CXR 1.0.0: DICOM films read by three radiologists (training) or by five in consensus (test).

Nguyen et al. 2022. The training films have no common reading. Here a finding is present if two readers state
it, uncertain if one does, absent if none; boxes of a present finding are joined as in `agreed_boxes`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.keys import bucket, split_of
from prior.datasets import base
from prior.datasets.cells import index_images, indexed_or, require
from prior.errors import InputError

NAME = "vindr_cxr"
LOCAL = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture",
    "Consolidation", "Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity",
    "Lung cavity", "Lung cyst", "Mediastinal shift", "Nodule/Mass", "Pleural effusion",
    "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture", "Other lesion",
)  # fmt: skip
GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding")
FINDINGS = (*LOCAL, *GLOBAL)
CHALLENGE = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD",
    "Infiltration", "Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening",
    "Pneumothorax", "Pulmonary fibrosis", "No finding",
)  # fmt: skip
SPELLED = {"Other disease": "Other diseases", "rad_ID": "rad_id"}  # the two tables differ
SIDES = ["x_min", "y_min", "x_max", "y_max"]
READERS_AGREE, OVERLAP = 2, 0.5
NOTES = {
    "labels": "training: present if two readers of three say so, uncertain if one does; test: the consensus",
    "boxes": f"training: mean of boxes of different readers with an IoU of {OVERLAP} or more",
    "official_validation": "training images whose hash is that of the validation side of strict-image",
}


def read(root: Path) -> base.RawDataset:
    """Read `train/`, `test/` (DICOM) and the four tables in `annotations/`; the images have no patient key.

    The form of the VinBigData challenge (`train/` and one table `train.csv`) has 14 of the findings and no
    labelled test images.

    Raises:
        InputError: a table, column, value or image file is missing or wrong.
    """
    base.require_folder(root, NAME, "train/, test/ and annotations/")
    if (root / "train.csv").is_file():
        return _read_challenge(root)
    tables = root / "annotations" if (root / "annotations").is_dir() else root
    sides = [side for side in ("train", "test") if (tables / f"image_labels_{side}.csv").is_file()]
    if not sides:
        raise InputError(
            f"{tables / 'image_labels_train.csv'} is missing; copy the tables of VinDr-CXR there"
        )
    parts = [_read_side(root, tables, side) for side in sides]
    images, labels, boxes = (
        pd.concat([part[table] for part in parts], ignore_index=True) for table in range(3)
    )
    twice = images["image_id"][images["image_id"].duplicated()]
    if len(twice):
        raise InputError(
            f"{tables}: image {twice.iloc[0]} is in both label tables; remove it from one of them"
        )
    return base.RawDataset(
        name=NAME,
        layout="DICOM, tables of " + ", ".join(sides),
        root=root,
        images=images,
        labels=labels,
        boxes=boxes,
        notes=dict(NOTES),
    )


def _read_side(root: Path, tables: Path, side: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    path = tables / f"image_labels_{side}.csv"
    votes, readers = _votes(path, side)
    images, labels = _records(root, votes, readers, side, path)
    official = pd.Series(side, index=votes.index)
    if side == "train":
        hashed = votes["image_id"].map(lambda image: split_of(bucket(f"{NAME}:{image}")))
        official = official.mask(hashed == "validation", "validation")
    boxes = _boxes(tables / f"annotations_{side}.csv", side, labels)
    return images.assign(official_split=official), labels, boxes


def _read_challenge(root: Path) -> base.RawDataset:
    path = root / "train.csv"
    frame = base.read_csv(path, ["image_id", "rad_id", "class_name"])
    for name in ("image_id", "rad_id", "class_name"):
        base.require_present(frame, name, path)
    base.require_values(frame, "class_name", CHALLENGE, path)
    stated = frame.drop_duplicates(["image_id", "rad_id", "class_name"])
    votes = pd.crosstab(stated["image_id"], stated["class_name"]).reindex(columns=CHALLENGE, fill_value=0)
    readers = frame.groupby("image_id")["rad_id"].nunique().reindex(votes.index).reset_index(drop=True)
    images, labels = _records(root, votes.reset_index(), readers, "train", path)
    return base.RawDataset(
        name=NAME,
        layout="DICOM, VinBigData challenge",
        root=root,
        images=images,
        labels=labels,
        boxes=_boxes(path, "train", labels),
        notes={name: NOTES[name] for name in ("labels", "boxes")},
    )


def _records(
    root: Path, votes: pd.DataFrame, readers: pd.Series, side: str, path: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the images and labels of one row of votes an image."""
    wanted = "the name of an image without folder and ending"
    require(~votes["image_id"].str.contains(r"[/\\]"), votes, "image_id", wanted, path)
    source = indexed_or(votes["image_id"], index_images(root, [root / side]), f"{side}/{{}}.dicom")
    labels = votes[["image_id"]].copy()
    for name in [name for name in FINDINGS if name in votes]:
        agreed = votes[name] >= np.minimum(readers, READERS_AGREE)
        labels[column_name(name)] = np.where(agreed, 1.0, np.where(votes[name] > 0, -1.0, 0.0))
    images = pd.DataFrame(
        {
            "image_id": votes["image_id"],
            "study_id": votes["image_id"],
            "patient_id": votes["image_id"],
            "study_order": 0,
            "view": "PA",
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": source,
        }
    )
    return images, labels


def _votes(path: Path, side: str) -> tuple[pd.DataFrame, pd.Series]:
    """Return one row an image with the number of readers that state each finding, and its readers."""
    keys = ["image_id", "rad_id"] if side == "train" else ["image_id"]
    frame = base.read_csv(path, ["image_id"]).rename(columns=SPELLED)
    for name in (*keys, *FINDINGS):
        if name not in frame.columns:
            found = ", ".join(frame.columns)
            raise InputError(f"{path} has no column {name!r} (found: {found}); use the file as released")
    base.require_present(frame, "image_id", path)
    wanted = (
        "a reader that no earlier row of the image has"
        if side == "train"
        else "an image that no earlier row has"
    )
    require(~frame.duplicated(keys), frame, keys[-1], wanted, path)
    for name in FINDINGS:
        base.require_present(frame, name, path)
        base.require_values(frame, name, ("0", "1", "0.0", "1.0"), path)
    numbers = base.to_numbers(frame, FINDINGS, path)
    grouped = numbers.groupby("image_id", sort=False)
    votes = grouped[list(FINDINGS)].sum().reset_index()
    return votes, grouped.size().reset_index(drop=True)


def column_name(finding: str) -> str:
    """Return the label column of a finding: `Nodule/Mass` -> `Nodule_Mass`."""
    return finding.replace("/", "_").replace(" ", "_")


def _boxes(path: Path, side: str, labels: pd.DataFrame) -> pd.DataFrame:
    keys = ["image_id", "rad_id", "class_name"] if side == "train" else ["image_id", "class_name"]
    frame = base.read_csv(path, [*keys, *SIDES])
    for name in keys:
        base.require_present(frame, name, path)
    base.require_values(frame, "class_name", FINDINGS, path)
    known = frame["image_id"].isin(labels["image_id"])
    require(known, frame, "image_id", f"an image of image_labels_{side}.csv", path)
    frame = base.to_numbers(frame, SIDES, path)
    frame = frame[frame["class_name"].isin(LOCAL)]  # the others have no place and an empty box
    base.require_boxes(frame, path)
    frame = frame.assign(label=frame["class_name"].map(column_name))
    if side == "test":
        return frame[["image_id", "label", *SIDES]].reset_index(drop=True)
    stated = labels.melt("image_id", var_name="label")
    stated = stated[stated["value"] == 1.0]
    present = set(zip(stated["image_id"], stated["label"], strict=True))
    rows: list[tuple[Any, ...]] = []
    for key, part in frame.groupby(["image_id", "label"], sort=False):
        if key in present:
            agreed = agreed_boxes(part[SIDES].to_numpy(dtype=float), part["rad_id"].to_numpy(dtype=object))
            rows += [(*key, *box) for box in agreed.tolist()]
    return pd.DataFrame(rows, columns=["image_id", "label", *SIDES]).astype(dict.fromkeys(SIDES, float))


def agreed_boxes(sides: NDArray[np.float64], readers: NDArray[np.object_]) -> NDArray[np.float64]:
    """Join the boxes that several readers drew around one finding of one image.

    In the order given, a box and those not yet used that overlap it by an IoU of `OVERLAP` or more form a
    group; groups of two or more readers become their mean. If there is none, all boxes stay as they are:
    the readers agree that the finding is there, not where.

    Args:
        sides: [n, 4] x_min, y_min, x_max, y_max.
        readers: [n] who drew them.

    Returns:
        [m, 4].
    """
    low = np.maximum(sides[:, None, :2], sides[None, :, :2])
    high = np.minimum(sides[:, None, 2:], sides[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area = (sides[:, 2:] - sides[:, :2]).prod(axis=1)
    close = shared / (area[:, None] + area[None, :] - shared) >= OVERLAP
    free = np.ones(len(sides), dtype=bool)
    joined = []
    for first in range(len(sides)):
        if not free[first]:
            continue
        group = close[first] & free
        free &= ~group
        if len(set(readers[group])) >= READERS_AGREE:
            joined.append(sides[group].mean(axis=0))
    return np.stack(joined) if joined else sides
