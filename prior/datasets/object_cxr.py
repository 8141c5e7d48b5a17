"""Object-CXR: foreign objects on chest radiographs (JF Healthcare, MIDL 2020)."""

from pathlib import Path

import numpy as np
import pandas as pd

from prior.data.pixels import image_shape
from prior.datasets import base
from prior.datasets.raw_files import require_inside
from prior.errors import InputError

LISTS = {"train": "train", "dev": "validation", "test": "test"}
RECTANGLE, ELLIPSE, POLYGON = 0, 1, 2
ELLIPSE_CORNERS = 64
LABEL = "Foreign_Object"
FARTHEST = 100_000  # pixels from the origin: outlines are drawn, whatever the size of the image

Shape = tuple[int, list[int]]


def read(root: Path) -> base.RawDataset:
    """Read train, dev and, if there, test; the images have no patient key.

    Raises:
        InputError: a table, column, annotation or image file is missing or wrong.
    """
    base.require_folder(root, "object_cxr", "train/, dev/, train.csv and dev.csv")
    found = [name for name in LISTS if (root / f"{name}.csv").is_file()]
    if "train" not in found:
        raise InputError(f"{root / 'train.csv'} is missing; copy it into the raw folder")
    parts = [_read_list(root, name) for name in found]
    images = pd.concat([part[0] for part in parts], ignore_index=True)
    boxes = pd.concat([part[1] for part in parts], ignore_index=True)
    present = images["image_id"].isin(boxes["image_id"]).astype(float)
    return base.RawDataset(
        name="object_cxr",
        layout="lists " + ", ".join(found),
        root=root,
        images=images,
        labels=pd.DataFrame({"image_id": images["image_id"], LABEL: present}),
        boxes=boxes,
        masks=pd.concat([part[2] for part in parts], ignore_index=True),
    )


def _read_list(root: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    path = root / f"{name}.csv"
    frame = base.read_csv(path, ["image_name", "annotation"])
    base.require_present(frame, "image_name", path)
    base.require_unique(frame, "image_name", path)
    source = name + "/" + frame["image_name"]
    require_inside(source, path)
    source = base.find_files(root, source)
    ids = (name + "_" + frame["image_name"].str.rsplit(".", n=1).str[0]).tolist()
    boxes, masks = [], []
    for position, (image, file, text) in enumerate(zip(ids, source, frame["annotation"], strict=True)):
        if pd.isna(text):
            continue
        try:
            shapes = parse_annotation(text)
        except ValueError as error:
            raise InputError(f"{path}, line {position + 2}, column 'annotation': {error}") from None
        boxes += [(image, LABEL, *(float(side) for side in bounds(shape))) for shape in shapes]
        size = image_shape(root / file)
        if size is not None:
            masks += [(image, LABEL, shape_to_rle(shape, *size)) for shape in shapes]
    images = pd.DataFrame(
        {
            "image_id": ids,
            "study_id": ids,
            "patient_id": ids,
            "study_order": 0,
            "view": None,
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": source,
            "official_split": LISTS[name],
        }
    )
    sides = ["x_min", "y_min", "x_max", "y_max"]
    return (
        images,
        pd.DataFrame(boxes, columns=["image_id", "label", *sides]),
        pd.DataFrame(masks, columns=["image_id", "label", "rle"], dtype=str),
    )


def parse_annotation(text: str) -> list[Shape]:
    """Parse `type x1 y1 x2 y2 ...;...` into (type, numbers) per object.

    Raises:
        ValueError: an object is not a rectangle (0), ellipse (1) or polygon (2) with extent, in reach of the
            image. Any two opposite corners give a rectangle or ellipse.
    """
    shapes = []
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        try:
            kind, *numbers = (int(number) for number in part.split())
        except ValueError:
            raise ValueError(f"{part!r} is not a list of whole numbers") from None
        if kind not in (RECTANGLE, ELLIPSE, POLYGON):
            raise ValueError(f"{part!r}: type {kind} is none of 0 (rectangle), 1 (ellipse), 2 (polygon)")
        wanted = len(numbers) == 4 if kind != POLYGON else len(numbers) >= 6 and len(numbers) % 2 == 0
        if not wanted:
            raise ValueError(f"{part!r}: wrong number of coordinates for type {kind}")
        if max(map(abs, numbers)) >= FARTHEST:
            raise ValueError(f"{part[:40]!r}... lies {FARTHEST:,} pixels or more from the image")
        x_min, y_min, x_max, y_max = bounds((kind, numbers))
        if x_max <= x_min or y_max <= y_min:
            raise ValueError(f"{part!r} has no extent")
        shapes.append((kind, numbers))
    return shapes


def bounds(shape: Shape) -> tuple[int, int, int, int]:
    """Return x_min, y_min, x_max, y_max of a shape."""
    xs, ys = shape[1][0::2], shape[1][1::2]
    return min(xs), min(ys), max(xs), max(ys)


def shape_to_rle(shape: Shape, height: int, width: int) -> str:
    """Fill a shape in an image of `height` x `width` and return its COCO RLE."""
    from pycocotools import mask as coco

    kind, numbers = shape
    x_min, y_min, x_max, y_max = bounds(shape)
    if kind == RECTANGLE:
        outline = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]], dtype=float)
    elif kind == ELLIPSE:
        angle = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)
        radii = np.array([(x_max - x_min) / 2, (y_max - y_min) / 2])
        centre = np.array([(x_max + x_min) / 2, (y_max + y_min) / 2])
        outline = centre + radii * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        outline = np.array(numbers, dtype=float).reshape(-1, 2)
    packed = coco.frPyObjects([outline.ravel().tolist()], height, width)
    return str(packed[0]["counts"].decode("ascii"))
