"""Paediatric pneumonia as released: `chest_xray/` with the class as folder (Kermany et al. 2018)."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from prior.datasets import base
from prior.errors import InputError

FOLDERS = (".", "chest_xray", "chest_xray/chest_xray")
SIDES = {"train": "train", "val": "validation", "test": "test"}
SUFFIXES = (".jpeg", ".jpg", ".png")
NAMES = {
    "NORMAL": (re.compile(r"((?:NORMAL2-)?IM-\d+)(?:-\d+)+"), "IM-0115-0001"),
    "PNEUMONIA": (re.compile(r"(person\d+)_(bacteria|virus)_\d+"), "person1_bacteria_1"),
}


def read(root: Path) -> base.RawDataset:
    """Read all images of `train/`, `test/` and, in Kaggle's copy, `val/`.

    The patient is the number in the file name. The released sides share such numbers, so they are the preset
    `official`, whose leak report counts them, and never part of a strict preset.

    Raises:
        InputError: the folders are missing, or an image has a name that tells no patient.
    """
    base.require_folder(root, "kermany_release", "chest_xray/ (train/, test/, each with NORMAL/, PNEUMONIA/)")
    folder = next((name for name in FOLDERS if (root / name / "train" / "PNEUMONIA").is_dir()), None)
    if folder is None:
        raise InputError(
            f"{root / 'chest_xray' / 'train' / 'PNEUMONIA'}/ is missing; unpack chest_xray.zip there"
        )
    rows = [row for side in SIDES for row in _read_side(root, folder, side)]
    frame = pd.DataFrame(rows, columns=["image_id", "patient_id", "subtype", "side", "source"])
    if frame.empty:
        raise InputError(f"{root / folder} holds no image; unpack chest_xray.zip there")
    twice = frame["image_id"].duplicated()
    if twice.any():
        raise InputError(f"{root / folder}: {frame.loc[twice, 'source'].iloc[0]} occurs twice; remove one")
    pneumonia = frame["subtype"] != "normal"
    bacterial = (frame["subtype"] == "bacteria").astype(float)
    return base.RawDataset(
        name="kermany_release",
        layout=f"{folder}: " + ", ".join(sorted(frame["side"].unique())),
        root=root,
        images=_images(frame),
        labels=pd.DataFrame(
            {
                "image_id": frame["image_id"],
                "Pneumonia": pneumonia.astype(float),
                "Bacterial_Pneumonia": bacterial.where(pneumonia),
            }
        ),
        patient_family="kermany",
    )


def _read_side(root: Path, folder: str, side: str) -> list[tuple[str, str, str, str, str]]:
    rows = []
    for kind, (pattern, example) in NAMES.items():
        place = root / folder / side / kind
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                continue
            named = pattern.fullmatch(path.stem)
            if named is None:
                raise InputError(
                    f"{path}: the name tells no patient (expected one such as {example}); "
                    "use the files as released"
                )
            subtype = "normal" if kind == "NORMAL" else named.group(2)
            source = path.relative_to(root).as_posix()
            rows.append((f"{side}_{path.stem}", named.group(1), subtype, side, source))
    return rows


def _images(frame: pd.DataFrame) -> pd.DataFrame:
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
            "source": frame["source"],
            "official_split": frame["side"].map(SIDES),
        }
    )
