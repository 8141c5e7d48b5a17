"""Where a finding is: its masks, or else its boxes filled, in the frame of the image store."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from prior.data.geometry import fit_mask
from prior.data.prepared import PreparedDataset
from prior.data.store import filled_boxes, union_of_rles

CORNERS = ["x_min", "y_min", "x_max", "y_max"]


def marked_findings(data: PreparedDataset) -> list[str]:
    """Return the labels of a dataset's masks and boxes, sorted."""
    return sorted(set(data.masks["label"]) | set(data.boxes["label"]))


def finding_masks(
    data: PreparedDataset, finding: str, image_ids: Iterable[str], size: int, fit: str
) -> dict[str, NDArray[np.bool_]]:
    """Draw the union of a finding's masks of each image, or of its boxes where it has no mask.

    Args:
        data: dataset with masks or boxes.
        finding: label of the masks or boxes.
        image_ids: images to draw.
        size: side of the store in pixels.
        fit: how the originals were fitted into the store.

    Returns:
        Image id → mask [size, size], only of images in which the finding is marked.
    """
    masks, boxes = (table[table["label"] == finding] for table in (data.masks, data.boxes))
    rles = {str(image): tuple(group["rle"]) for image, group in masks.groupby("image_id")}
    corners = {str(image): group[CORNERS].to_numpy(float) for image, group in boxes.groupby("image_id")}
    sizes = data.images[["image_id", "height", "width"]].itertuples(index=False)
    shapes = {str(image): (int(height), int(width)) for image, height, width in sizes}
    found: dict[str, NDArray[np.bool_]] = {}
    for image in map(str, image_ids):
        if image not in rles and image not in corners:
            continue
        if image in rles:
            mask = union_of_rles(rles[image], shapes[image])
        else:
            mask = filled_boxes([tuple(box) for box in corners[image].tolist()], shapes[image])
        if mask.any():
            found[image] = fit_mask(mask, size, fit) > 0
    return found


class FindingMasks:
    """One mask per finding of each image of the store, [N, K, size, size], drawn where a finding is marked.

    Args:
        data: dataset with masks or boxes.
        size: side of the store in pixels.
        fit: how the originals were fitted into the store.

    Attributes:
        findings: names of the K findings, sorted.
        shape: as of an array.
    """

    def __init__(self, data: PreparedDataset, size: int, fit: str) -> None:
        self.findings = marked_findings(data)
        self.shape = (int(data.manifest["counts"]["store_rows"]), len(self.findings), size, size)
        rows = dict(zip(data.images["image_id"].astype(str), data.images["row"], strict=True))
        self._drawn: dict[int, dict[int, NDArray[np.bool_]]] = {}
        for k, finding in enumerate(self.findings):
            for image, mask in finding_masks(data, finding, rows, size, fit).items():
                self._drawn.setdefault(int(rows[image]), {})[k] = mask

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the masks [n, K, size, size] of 0 and 1 of store rows [n]."""
        found = np.zeros((len(rows), *self.shape[1:]), dtype=np.uint8)
        for place, row in enumerate(rows.tolist()):
            for k, mask in self._drawn.get(row, {}).items():
                found[place, k] = mask
        return found


def marked(masks: NDArray) -> NDArray[np.bool_]:
    """Return [n]: which of the masks [n, ..., H, W] hold a pixel."""
    return np.asarray(masks.any(axis=tuple(range(1, masks.ndim))))
