"""TBX11K: tuberculosis on chest radiographs, with boxes as COCO json or VOC xml (Liu et al., CVPR 2020)."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.pixels import image_shape
from prior.datasets import base
from prior.datasets.cells import index_images, stays_inside
from prior.datasets.raw_files import parse_xml, read_json
from prior.errors import InputError

NAME = "tbx11k"
FOLDER = "TBX11K"
SIDES = {"train": "train", "val": "validation"}
KINDS = ("health", "sick", "tb")
ACTIVE, LATENT, ANY = "Active_Tuberculosis", "Latent_Tuberculosis", "Tuberculosis"
LABELS = {
    "ActiveTuberculosis": ACTIVE,
    "ObsoletePulmonaryTuberculosis": LATENT,
    "PulmonaryTuberculosis": ANY,  # whether active or latent cannot be told
}
CORNERS = ("x_min", "y_min", "x_max", "y_max")

VOC = ("xmin", "ymin", "xmax", "ymax")

Sides = tuple[float, float, float, float]
Box = tuple[str, str, float, float, float, float]


def read(root: Path) -> base.RawDataset:
    """Read the training and validation images; the labels of the test images are not released.

    Boxes come from `annotations/json/TBX11K_<list>.json`, or from `lists/TBX11K_<list>.txt` with
    `annotations/xml/`. There is no patient key. The validation list is for `official-validation-image`.

    Raises:
        InputError: a table, image or value is missing or wrong.
    """
    base.require_folder(root, NAME, f"{FOLDER}/ with imgs/ and annotations/")
    folder = next((place for place in (root / FOLDER, root) if (place / "imgs").is_dir()), root / FOLDER)
    as_json = (folder / "annotations" / "json").is_dir()
    images, boxes = [], []
    for side, split in SIDES.items():
        files, found = (_read_json if as_json else _read_xml)(folder, side)
        images.append(pd.DataFrame({"file": files, "official_split": split}))
        boxes += found
    frame = pd.concat(images, ignore_index=True)
    if frame.empty:
        raise InputError(f"{folder}: the lists name no image; use the lists as released")
    if frame["file"].duplicated().any():
        twice = frame["file"][frame["file"].duplicated()].iloc[0]
        raise InputError(f"{folder}: {twice} is listed twice; use the lists as released")
    marked = pd.DataFrame(boxes, columns=["file", "label", *CORNERS])
    ids = frame["file"].str.rsplit(".", n=1).str[0].str.split("/").str[-1]
    boxes_of = dict(zip(frame["file"], ids, strict=True))
    tests = index_images(folder, [folder / "imgs" / "test"])
    return base.RawDataset(
        name=NAME,
        layout=f"boxes from {'json' if as_json else 'xml'}, lists " + ", ".join(SIDES),
        root=folder,
        images=_images(folder, frame, ids),
        labels=_labels(frame["file"], ids, marked),
        boxes=marked.assign(image_id=marked["file"].map(boxes_of))[["image_id", "label", *CORNERS]],
        dropped=[{"source": source, "reason": "test image without label"} for source in tests.values()],
        notes={"official_test": "not released; official-validation-image tests on the validation list"},
    )


def _read_json(folder: Path, side: str) -> tuple[list[str], list[Box]]:
    path = folder / "annotations" / "json" / f"TBX11K_{side}.json"
    if not path.is_file():
        raise InputError(f"{path} is missing; copy the annotations of TBX11K there")
    try:
        content = read_json(path)
        files = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        names = {int(category["id"]): str(category["name"]) for category in content["categories"]}
        marks = [
            (int(mark["image_id"]), int(mark["category_id"]), [float(side) for side in mark["bbox"]])
            for mark in content["annotations"]
        ]
        if len(files) < len(content["images"]):
            raise ValueError("two images have the same id")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is no COCO file ({error!r}); use the file as released") from None
    boxes: list[Box] = []
    for number, (image, category, sides) in enumerate(marks):
        where = f"{path}, annotations[{number}]"
        if image not in files:
            raise InputError(f"{where}: image_id {image} is in no entry of images; correct or remove it")
        if len(sides) != 4:
            raise InputError(f"{where}: bbox has {len(sides)} numbers instead of 4; correct it")
        x, y, width, height = sides
        boxes.append(_box(files[image], names.get(category), (x, y, x + width, y + height), where))
    return [_checked(file, path) for file in files.values()], boxes


def _read_xml(folder: Path, side: str) -> tuple[list[str], list[Box]]:
    path = folder / "lists" / f"TBX11K_{side}.txt"
    if not path.is_file():
        raise InputError(
            f"{path} is missing, and so is {folder / 'annotations' / 'json'}; copy the annotations of TBX11K"
        )
    try:
        lines = path.read_text(encoding="utf-8").split()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no list of images ({error}); replace the file") from None
    files = [_checked(line.removeprefix("imgs/"), path) for line in lines]
    boxes: list[Box] = []
    for file in [file for file in files if file.startswith("tb/")]:
        marks = folder / "annotations" / "xml" / f"{Path(file).stem}.xml"
        if not marks.is_file():
            continue  # one image of the folder tb has no annotation
        boxes += [
            _box(file, name, sides, str(marks)) for name, sides in _read_voc(marks, folder / "imgs" / file)
        ]
    return files, boxes


def _read_voc(path: Path, image: Path) -> list[tuple[str | None, Sides]]:
    """Return class and corners of every object in pixels of `image`; the file has those of a larger film."""
    tree = parse_xml(path.read_bytes(), str(path))
    try:
        original = [float(tree.findtext(f"size/{name}") or "") for name in ("width", "height")]
        found = [
            (item.findtext("name"), [float(item.findtext(f"bndbox/{name}") or "") for name in VOC])
            for item in tree.findall("object")
        ]
        if not all(0 < side < math.inf for side in original):
            raise ValueError("size is not above 0")
    except ValueError as error:
        raise InputError(f"{path} is no VOC annotation ({error}); replace the file") from None
    shape = image_shape(image)
    if shape is None:
        return []
    x, y = shape[1] / original[0], shape[0] / original[1]
    return [(name, (a * x, b * y, c * x, d * y)) for name, (a, b, c, d) in found]


def _box(file: str, category: Any, sides: Sides, where: str) -> Box:
    if category not in LABELS:
        raise InputError(f"{where}: class {category!r} is none of {', '.join(LABELS)}; correct it")
    x_min, y_min, x_max, y_max = sides
    ordered = x_min < x_max and y_min < y_max and x_max > 0 and y_max > 0
    if not (ordered and all(map(math.isfinite, sides))):
        values = ", ".join(f"{name} {value:g}" for name, value in zip(CORNERS, sides, strict=True))
        raise InputError(f"{where}: the box ({values}) is empty or outside; correct or remove it")
    return (file, LABELS[category], *sides)


def _checked(file: str, listed_in: Path) -> str:
    if not stays_inside(file) or file.split("/")[0] not in KINDS:
        raise InputError(f"{listed_in}: {file!r} is not below {', '.join(KINDS)}; use the file as released")
    return file


def _images(folder: Path, frame: pd.DataFrame, ids: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ids,
            "study_id": ids,
            "patient_id": ids,
            "study_order": 0,
            "view": None,
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": base.find_files(folder, "imgs/" + frame["file"]),
            "official_split": frame["official_split"],
        }
    )


def _labels(files: pd.Series, ids: pd.Series, marked: pd.DataFrame) -> pd.DataFrame:
    """Kind of the image from its folder, kind of tuberculosis from its boxes (unknown if it has none)."""
    kind = files.str.split("/").str[0]
    tuberculosis = kind == "tb"
    labels = pd.DataFrame({"image_id": ids, ANY: tuberculosis.astype(float)})
    boxed = files.isin(marked["file"])
    unclear = files.isin(marked.loc[marked["label"] == ANY, "file"])
    for name in (ACTIVE, LATENT):
        value = files.isin(marked.loc[marked["label"] == name, "file"]).astype(float)
        value = value.mask(unclear & (value == 0), -1.0)
        labels[name] = value.mask(tuberculosis & ~boxed)
    labels["No_Finding"] = (kind == "health").astype(float)
    return labels
