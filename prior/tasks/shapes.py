"""Which true shapes hold the centres of predicted boxes: a hit of Object-CXR's challenge."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.prepared import PreparedDataset

CORNERS = ["x_min", "y_min", "x_max", "y_max"]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def with_shapes(frame: pd.DataFrame, data: PreparedDataset, size: int, fit: str) -> pd.DataFrame:
    """Add what FROC of shapes counts to the rows of a detection cell.

    The shapes of an image are its masks, one per object, or its boxes where it has no mask. They are asked in
    the pixels of the original image.

    Args:
        frame: rows of `kind` image and prediction, boxes in store pixels.
        data: dataset with masks or boxes.
        size: side of the store in pixels.
        fit: how the originals were fitted into the store.

    Returns:
        The rows with `n_shapes` (number of shapes, of `kind` image, else missing) and `shapes` (list of the
        shapes, from 0, that hold the centre; of `kind` prediction, else missing).
    """
    holders = shapes_by_image(data, frame["image_id"].unique())
    counts: list[float] = [np.nan] * len(frame)
    held: list[list[int] | None] = [None] * len(frame)
    placed = frame[["image_id"]].merge(data.geometry(size, fit), on="image_id", how="left")
    centres = [
        (frame[f"{axis}_min"].to_numpy(float) + frame[f"{axis}_max"].to_numpy(float)) / 2 for axis in "xy"
    ]
    points = np.stack(
        [
            (centre - placed[f"pad_{axis}"].to_numpy()) / placed[f"scale_{axis}"].to_numpy()
            for axis, centre in zip("xy", centres, strict=True)
        ],
        axis=1,
    )
    kinds, images = frame["kind"].to_numpy(), frame["image_id"].to_numpy()
    for image, rows in pd.Series(np.arange(len(frame))).groupby(images).groups.items():
        shapes = holders.get(str(image), [])
        places = np.asarray(rows)
        asked = places[kinds[places] == "prediction"]
        for place in places[kinds[places] == "image"]:
            counts[place] = len(shapes)
        hits = np.stack([shape(points[asked]) for shape in shapes], axis=1) if shapes else None
        for number, place in enumerate(asked):
            held[place] = [] if hits is None else np.flatnonzero(hits[number]).tolist()
    return frame.assign(n_shapes=counts, shapes=pd.Series(held, index=frame.index, dtype=object))


def shapes_by_image(
    data: PreparedDataset, image_ids: Iterable[str]
) -> dict[str, list[Callable[[Floats], Bools]]]:
    """Return, of images with an object, a function per object: points (x, y) [n, 2] → held or not [n]."""
    wanted = set(map(str, image_ids))
    masks, boxes = (table[table["image_id"].isin(wanted)] for table in (data.masks, data.boxes))
    sizes = data.images.set_index("image_id")[["height", "width"]]
    found: dict[str, list[Callable[[Floats], Bools]]] = {
        str(image): [in_box(box) for box in group[CORNERS].to_numpy(float)]
        for image, group in boxes.groupby("image_id")
    }
    for image, group in masks.groupby("image_id"):
        height, width = map(int, sizes.loc[image].to_numpy())
        found[str(image)] = [in_mask(str(rle), height, width) for rle in group["rle"]]
    return found


def in_box(box: Floats) -> Callable[[Floats], Bools]:
    """Ask whether points lie in a box (x_min, y_min, x_max, y_max) or on its border."""
    return lambda points: np.asarray(((points >= box[:2]) & (points <= box[2:])).all(axis=1))


def in_mask(rle: str, height: int, width: int) -> Callable[[Floats], Bools]:
    """Ask whether the pixels of points belong to a COCO compressed mask of an image [height, width]."""

    def held(points: Floats) -> Bools:
        # Drawn when it is asked: all masks of a data set at once would fill the memory.
        from pycocotools import mask as coco

        mask = coco.decode({"size": [height, width], "counts": rle.encode("ascii")})
        x, y = np.floor(points).astype(np.int64).T
        return np.asarray(mask[y.clip(0, height - 1), x.clip(0, width - 1)] > 0)

    return held
