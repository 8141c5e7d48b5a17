"""NIH ChestX-ray14, the whole release with boxes and official lists (Wang et al., CVPR 2017)."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.keys import bucket, split_of
from prior.data.pixels import image_shape
from prior.datasets import base, nih_images
from prior.datasets.cells import index_images, indexed_or, require
from prior.errors import InputError

NAME = "nih_chestxray14"
TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
BOXES = "BBox_List_2017.csv"
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
COLUMNS = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "View Position"]
SEX = ("Patient Gender", "Patient Sex")  # the second in the version of 2020
BOX = ["Bbox [x", "y", "w", "h]"]  # the header was split at the commas inside its brackets
FRAME = 1024  # boxes are pixels of the released images, whatever the size of a copy
IMAGE = r"\d{8}_\d{3}\.png"
UNITS = {"Y": 1.0, "M": 12.0, "D": 365.25}
BOXED = "few images were boxed: one without a box is no negative of its findings"
VALIDATION = "patients of train_val_list.txt whose hash is that of the validation side of strict"


def read(root: Path) -> base.RawDataset:
    """Read a folder with Data_Entry_2017.csv and images_001..012/images/ or images/.

    The official lists and the boxes are read if they are there. The lists have no validation side; it is
    taken from the patients of `train_val_list.txt` by hash.

    Raises:
        InputError: a table, list, column, value or image is missing or wrong.
    """
    base.require_folder(root, NAME, f"{TABLES[0]}, {BOXES}, the two official lists and the images")
    path = next((root / name for name in TABLES if (root / name).is_file()), root / TABLES[0])
    frame = _read_table(path)
    folders = [root / "images", *sorted(root.glob("images_*"))]
    found = index_images(root, [inner for folder in folders for inner in (folder, folder / "images")])
    source = indexed_or(frame["image_id"], found, "images/{}.png")
    images = nih_images.image_records(frame.assign(image=source)).assign(source=source)
    official, lists = _official(root, frame)
    boxes, unlisted = _boxes(root, found, set(frame["image_id"]))
    notes: dict[str, Any] = {"ages_left_out": int(frame["age"].isna().sum())}
    if lists:
        images["official_split"] = official
        notes["official_validation"] = VALIDATION
    if boxes is not None:
        notes["boxes"] = BOXED
        notes["boxes_of_images_not_in_the_table"] = unlisted
    return base.RawDataset(
        name=NAME,
        layout=", ".join([path.name, *lists, *([BOXES] if boxes is not None else [])]),
        root=root,
        images=images,
        labels=_labels(frame, path),
        boxes=boxes,
        patient_family=nih_images.FAMILY,
        notes=notes,
    )


def _read_table(path: Path) -> pd.DataFrame:
    frame = base.read_csv(path, COLUMNS)
    sex = next((name for name in SEX if name in frame.columns), None)
    if sex is None:
        raise InputError(f"{path} has no column {SEX[0]!r} or {SEX[1]!r}; use the file as released")
    name = frame["Image Index"].fillna("")
    require(name.str.fullmatch(IMAGE), frame, "Image Index", "a name such as 00000001_000.png", path)
    base.require_unique(frame, "Image Index", path)
    base.require_present(frame, "Finding Labels", path)
    base.require_values(frame, "View Position", ("AP", "PA"), path)
    base.require_values(frame, sex, ("F", "M"), path)
    frame = base.to_numbers(frame, ["Follow-up #", "Patient ID"], path)
    same = frame["Patient ID"] == name.str[:8].astype(int)
    require(same, frame, "Patient ID", "the patient that the name of the image starts with", path)
    return frame.assign(
        image_id=nih_images.image_ids(name),
        patient_id=frame["Patient ID"].astype(int).astype(str),
        follow_up=frame["Follow-up #"],
        sex=frame[sex],
        view=frame["View Position"],
        age=_years(frame, path),
    )


def _years(frame: pd.DataFrame, path: Path) -> pd.Series:
    """Turn `058Y`, `011M`, `58` into years; typing errors such as 414 are missing."""
    parts = frame["Patient Age"].str.extract(r"^(\d+)([YMD]?)$")
    good = parts[0].notna() | frame["Patient Age"].isna()
    require(good, frame, "Patient Age", "an age such as 058Y, 011M or 58", path)
    years = parts[0].astype(float) / parts[1].map(UNITS).fillna(1.0)
    return years.where(years <= base.OLDEST)


def _labels(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    present = frame["Finding Labels"].str.replace(" ", "_").str.get_dummies("|").astype(float)
    unknown = [name for name in present.columns if name not in nih_images.FINDINGS]
    wanted = f"some of {'|'.join(nih_images.FINDINGS)} (No Finding alone)"
    alone = present.get("No_Finding", pd.Series(0.0, index=present.index)).mul(present.sum(axis=1)) <= 1
    require(alone & ~present[unknown].any(axis=1), frame, "Finding Labels", wanted, path)
    labels = present.reindex(columns=nih_images.FINDINGS, fill_value=0.0)
    labels.insert(0, "image_id", frame["image_id"])
    return labels


def _official(root: Path, frame: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """Return the side of every image and the names of the lists; no name if the lists are not there."""
    there = [name for name in LISTS if (root / name).is_file()]
    side: pd.Series = pd.Series(np.nan, index=frame.index, dtype=object)
    if not there:
        return side, []
    members = {}
    for name in LISTS:
        if name not in there:
            raise InputError(f"{root / name} is missing beside {there[0]}; copy it there or remove the other")
        try:
            members[name] = set((root / name).read_text(encoding="utf-8").split())
        except UnicodeDecodeError as error:
            raise InputError(f"{root / name} is no list of image names ({error}); replace the file") from None
    both = sorted(set.intersection(*members.values()))
    if both:
        raise InputError(f"{root}: {both[0]} is in both official lists; use the lists as released")
    for name, listed in members.items():
        if not frame["Image Index"].isin(listed).any():
            raise InputError(f"{root / name} names no image of the table; use the list as released")
        side = side.mask(frame["Image Index"].isin(listed), LISTS[name])
    hashed = frame["patient_id"].map(lambda patient: split_of(bucket(f"{nih_images.FAMILY}:{patient}")))
    return side.mask((side == "train") & (hashed == "validation"), "validation"), there


def _boxes(root: Path, found: dict[str, str], listed: set[str]) -> tuple[pd.DataFrame | None, int]:
    """Return the boxes in pixels of the files, and how many belong to images that the table lacks."""
    path = root / BOXES
    if not path.is_file():
        return None, 0
    frame = base.read_csv(path, ["Image Index", "Finding Label", *BOX])
    base.require_present(frame, "Image Index", path)
    frame["Finding Label"] = frame["Finding Label"].replace("Infiltrate", "Infiltration")
    base.require_present(frame, "Finding Label", path)
    base.require_values(frame, "Finding Label", nih_images.FINDINGS[:-1], path)
    frame = base.to_numbers(frame, BOX, path)
    x, y, width, height = (frame[name] for name in BOX)
    sides = {"x_min": x, "y_min": y, "x_max": x + width, "y_max": y + height}
    boxes = pd.DataFrame(
        {"image_id": nih_images.image_ids(frame["Image Index"]), "label": frame["Finding Label"], **sides}
    )
    base.require_boxes(boxes, path)
    known = boxes["image_id"].isin(listed)
    boxes = boxes[known].reset_index(drop=True)
    shapes = {
        name: shape
        for name in boxes["image_id"].unique()
        if name in found and (shape := image_shape(root / found[name])) is not None
    }
    boxes = boxes[boxes["image_id"].isin(list(shapes))].reset_index(drop=True)
    for side, axis in (("x_min", 1), ("x_max", 1), ("y_min", 0), ("y_max", 0)):
        boxes[side] *= boxes["image_id"].map({name: shape[axis] / FRAME for name, shape in shapes.items()})
    return boxes, int((~known).sum())
