"""ChestX-Det as released: 13 classes with boxes and polygons on NIH images (Liu et al. 2020; Apache-2.0)."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.pixels import image_shape
from prior.datasets import base
from prior.datasets.nih_match import UNMATCHED, find_patients
from prior.datasets.object_cxr import FARTHEST, POLYGON, shape_to_rle
from prior.datasets.raw_files import read_json, require_list
from prior.errors import InputError

LISTS = {"train": "ChestX_Det_train.json", "test": "ChestX_Det_test.json"}
FOLDERS = {"train": ("train_data", "train"), "test": ("test_data", "test")}
FINDINGS = (
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Consolidation",
    "Diffuse Nodule",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Fracture",
    "Mass",
    "Nodule",
    "Pleural Thickening",
    "Pneumothorax",
)
SIDES = ["x_min", "y_min", "x_max", "y_max"]
NAME = re.compile(r"(?:([0-9]{8})_[0-9]{3}|[0-9]+)\.png")  # of NIH, or a number that the release gave


def read(root: Path) -> base.RawDataset:
    """Read both lists; every image was read for all 13 classes, so those not named are absent.

    The released files have numbers for names: patients are known only if the folder also says which NIH
    images these are (`nih_match.find_patients`, column `file_name`), and images without a reliable match are
    then dropped. A name of NIH says its patient itself. A polygon without area gives no mask; the notes count
    them.

    Raises:
        InputError: a list, entry, class, box or image file is missing or wrong.
    """
    base.require_folder(
        root, "chestx_det_release", f"{', '.join(LISTS.values())}, train_data/ and test_data/"
    )
    items = [(side, item) for side, name in LISTS.items() for item in _items(root / name)]
    folders = {side: _folder(root, side) for side in LISTS}
    source = pd.Series([f"{folders[side]}/{item['file_name']}" for side, item in items])
    ids = pd.Series([item["file_name"].rsplit(".", 1)[0] for _, item in items], dtype=str)
    if ids.duplicated().any():
        raise InputError(f"{root}: image {ids[ids.duplicated()].iloc[0]} is listed twice; correct the lists")
    source = base.find_files(root, source)
    patients, keyed = _patients(root, [item["file_name"] for _, item in items])
    lost = patients.isna() if keyed is not None else pd.Series(False, index=ids.index)
    dropped = [{"source": name, "reason": UNMATCHED} for name in source[lost]]
    items = [item for item, left_out in zip(items, lost, strict=True) if not left_out]
    ids, source, patients = (part[~lost].reset_index(drop=True) for part in (ids, source, patients))
    boxes = [row for image, (_, item) in zip(ids, items, strict=True) for row in _boxes(image, item)]
    masks, flat = _masks(root, source, ids, [item for _, item in items])
    return base.RawDataset(
        name="chestx_det_release",
        layout=", ".join([*LISTS.values(), keyed or "without patient key"]),
        root=root,
        images=_images(ids, source, ids if keyed is None else patients, [side for side, _ in items]),
        labels=_labels(ids, [item for _, item in items]),
        boxes=pd.DataFrame(boxes, columns=["image_id", "label", *SIDES]),
        masks=masks,
        patient_family=None if keyed is None else "nih",
        dropped=dropped,
        notes={"polygons without area": flat},
    )


def _items(path: Path) -> list[dict[str, Any]]:
    """Return the entries of one list, checked."""
    items = require_list(read_json(path), ("file_name", "syms", "boxes", "polygons"), path, "images")
    for position, item in enumerate(items):
        parts = [item[name] for name in ("syms", "boxes", "polygons")]
        if not isinstance(item["file_name"], str) or not all(isinstance(part, list) for part in parts):
            raise InputError(f"{path}: entry {position} is not as released; correct it")
        name = item["file_name"]
        if not NAME.fullmatch(name):
            raise InputError(f"{path}: {name!r} is no name such as 36199.png or 00000061_012.png; correct it")
        if len({len(part) for part in parts}) != 1:
            counts = " / ".join(str(len(part)) for part in parts)
            raise InputError(f"{path}: {name} has {counts} syms / boxes / polygons; correct it")
        unknown = [label for label in item["syms"] if label not in FINDINGS]
        if unknown:
            raise InputError(f"{path}: class {unknown[0]!r} of {name} is none of {', '.join(FINDINGS)}")
        for box in item["boxes"]:
            if not _is_numbers(box, 4) or box[2] <= box[0] or box[3] <= box[1]:
                raise InputError(
                    f"{path}: box {box} of {name} is not left, top, right, bottom; correct or remove it"
                )
        if not all(
            isinstance(outline, list) and all(_is_numbers(p, 2) for p in outline) for outline in parts[2]
        ):
            raise InputError(f"{path}: a polygon of {name} is no list of points; correct it")
    return items


def _is_numbers(value: Any, count: int) -> bool:
    """Whether `value` is a list of `count` numbers that a place in an image can have."""
    right = isinstance(value, list) and len(value) == count
    return right and all(isinstance(x, int | float) and abs(x) < FARTHEST for x in value)


def _folder(root: Path, side: str) -> str:
    return next((name for name in FOLDERS[side] if (root / name).is_dir()), FOLDERS[side][0])


def _patients(root: Path, names: list[str]) -> tuple[pd.Series, str | None]:
    """Return the NIH patient of each file, missing where unknown, and what says so; None if nothing does."""
    own = pd.Series(names, dtype=str).str.extract(f"^{NAME.pattern}$", expand=False)
    patients = own.map(lambda number: str(int(number)), na_action="ignore").astype(object)
    if own.notna().all():
        return patients, "patients in the names"
    match = find_patients(root, "file_name")
    if match is None:
        return patients, None
    return patients.fillna(pd.Series(names).map(match[0])), f"with {match[1]}"


def _images(ids: pd.Series, source: pd.Series, patient: pd.Series, sides: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ids,
            "study_id": ids,
            "patient_id": patient,
            "study_order": base.study_order(patient, ids),
            "view": None,
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": source,
            "official_split": sides,
        }
    )


def _labels(ids: pd.Series, items: list[dict[str, Any]]) -> pd.DataFrame:
    present = {
        label.replace(" ", "_"): [float(label in item["syms"]) for item in items] for label in FINDINGS
    }
    return pd.DataFrame({"image_id": ids, **present})


def _boxes(image: str, item: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (image, label.replace(" ", "_"), *map(float, box))
        for label, box in zip(item["syms"], item["boxes"], strict=True)
    ]


def _masks(
    root: Path, source: pd.Series, ids: pd.Series, items: list[dict[str, Any]]
) -> tuple[pd.DataFrame, int]:
    """Fill the polygons; return the masks and how many polygons have no area."""
    rows, flat = [], 0
    for image, file, item in zip(ids, source, items, strict=True):
        if not item["syms"]:
            continue
        shape = image_shape(root / file)
        if shape is None:
            continue
        for label, outline in zip(item["syms"], item["polygons"], strict=True):
            numbers = [round(x) for point in outline for x in point]
            if len(outline) < 3:
                flat += 1
                continue
            rows.append((image, label.replace(" ", "_"), shape_to_rle((POLYGON, numbers), *shape)))
    return pd.DataFrame(rows, columns=["image_id", "label", "rle"], dtype=str), flat
