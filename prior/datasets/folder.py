"""A user's own images with one csv, as `docs/bring_your_data.md` describes."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from prior.datasets import base
from prior.datasets.cells import IMAGE_SUFFIXES, require, stays_inside
from prior.datasets.raw_files import whole_ids
from prior.errors import InputError

NAME = "folder"
TABLE, BOXES = "images.csv", "boxes.csv"
RESERVED = ("path", "patient_id", "study_id", "view", "sex", "age", "site", "split", "report")
VIEWS = ("AP", "PA", "LATERAL", "OTHER")
SEXES = {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}
SPLITS = ("train", "validation", "test")
SIDES = ["x_min", "y_min", "x_max", "y_max"]


def read(root: Path) -> base.RawDataset:
    """Read `images.csv` (one row an image) and, if there, `boxes.csv`, in `root` or in a folder there.

    Only `path` is required; every column that is not `RESERVED` is a finding. With `patient_id` the images
    are split by patient, without it only presets that end in `-image` are possible.

    Raises:
        InputError: a file or cell is missing or wrong; the message says which line of the csv, or row of the
            spreadsheet where cells hold line breaks.
    """
    base.require_folder(root, NAME, f"{TABLE} and the images that it names")
    root = base.folder_with(root, TABLE)
    path = root / TABLE
    frame = base.read_csv(path, ["path"])
    _require_names(list(frame.columns), path)
    blank = pd.Series(np.nan, index=frame.index, dtype=str)
    frame = frame.assign(**{name: blank for name in RESERVED if name not in frame.columns})
    frame["image_id"] = _image_ids(root, frame, path)
    if frame["patient_id"].notna().any():
        base.require_present(frame, "patient_id", path)
    frame["patient_id"] = whole_ids(frame["patient_id"])
    has_patients = bool(frame["patient_id"].notna().any())
    frame["patient_id"] = frame["patient_id"].fillna(frame["image_id"])
    frame["study_id"] = frame["study_id"].fillna(frame["image_id"])
    _require_one_each(frame, "patient_id", path)
    findings = [name for name in frame.columns if name not in (*RESERVED, "image_id")]
    labels = base.to_labels(frame, findings, path).assign(image_id=frame["image_id"]) if findings else None
    boxes = _boxes(root, frame, path)
    return base.RawDataset(
        name=NAME,
        layout=f"{TABLE} with {BOXES}" if boxes is not None else TABLE,
        root=root,
        images=_images(root, frame, path),
        labels=labels,
        boxes=boxes,
        reports=_reports(frame, path),
        patient_family=NAME if has_patients else None,
    )


def _require_names(columns: list[str], path: Path) -> None:
    """Stop at a column without a name, which would count as a finding, or at two that name one finding."""
    for position, name in enumerate(columns, start=1):
        if re.fullmatch(r"Unnamed: \d+", name):
            raise InputError(f"{path}: column {position} has no name; name the finding or remove the column")
        if name.replace(" ", "_") in [other.replace(" ", "_") for other in columns[: position - 1]]:
            raise InputError(
                f"{path}: column {name!r} names a finding that an earlier column has; remove one"
            )


def _image_ids(root: Path, frame: pd.DataFrame, path: Path) -> pd.Series:
    """Return `a_b` of `a/b.png`; every file must be below the folder and named once."""
    base.require_present(frame, "path", path)
    source = frame["path"]
    require(source.map(stays_inside), frame, "path", f"a path below {root}", path)
    known = source.map(lambda name: Path(name).suffix.lower() in IMAGE_SUFFIXES)
    require(known, frame, "path", f"an image ({', '.join(IMAGE_SUFFIXES)})", path)
    ids = source.str.rsplit(".", n=1).str[0].str.replace("/", "_")
    wanted = "an image that no earlier row has (with suffix left out and _ for /)"
    require(~ids.duplicated(), frame, "path", wanted, path)
    return ids


def _require_one_each(frame: pd.DataFrame, name: str, path: Path) -> None:
    """Stop where a row of a study says something else in column `name` than its first row."""
    first = frame.groupby("study_id")[name].transform("first")
    same = frame[name].isna() | (frame[name] == first)
    require(same, frame, name, "what an earlier row of the same study_id says", path)


def _images(root: Path, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    upper = frame.assign(view=frame["view"].str.upper(), sex=frame["sex"].str.upper())
    for name, allowed in (("view", VIEWS), ("sex", tuple(SEXES))):
        good = upper[name].isna() | upper[name].isin(allowed)
        require(good, frame, name, f"one of {', '.join(allowed)} or blank", path)
    base.require_values(frame, "split", SPLITS, path)
    age = base.to_ages(frame, "age", path)
    images = pd.DataFrame(
        {
            "image_id": frame["image_id"],
            "study_id": frame["study_id"],
            "patient_id": frame["patient_id"],
            "study_order": base.study_order(frame["patient_id"], frame["study_id"]),
            "view": upper["view"],
            "sex": upper["sex"].map(SEXES),
            "age": age,
            "site": frame["site"],
            "source": base.find_files(root, frame["path"]),
        }
    )
    return images.assign(official_split=frame["split"]) if frame["split"].notna().any() else images


def _reports(frame: pd.DataFrame, path: Path) -> pd.DataFrame | None:
    """Return one report a study; rows of a study may repeat it or leave it blank."""
    if frame["report"].isna().all():
        return None
    _require_one_each(frame, "report", path)
    told = frame[frame["report"].notna()].drop_duplicates("study_id").reset_index(drop=True)
    return told[["study_id", "patient_id", "report"]].rename(columns={"report": "text"})


def _boxes(root: Path, frame: pd.DataFrame, listed_in: Path) -> pd.DataFrame | None:
    path = root / BOXES
    if not path.is_file():
        return None
    boxes = base.read_csv(path, ["path", "label", *SIDES])
    base.require_present(boxes, "path", path)
    base.require_present(boxes, "label", path)
    ids = dict(zip(frame["path"], frame["image_id"], strict=True))
    require(boxes["path"].isin(list(ids)), boxes, "path", f"an image of {listed_in.name}", path)
    boxes = base.to_numbers(boxes, SIDES, path)
    base.require_boxes(boxes, path)
    boxes["image_id"], boxes["label"] = boxes["path"].map(ids), boxes["label"].str.replace(" ", "_")
    return boxes[["image_id", "label", *SIDES]]
