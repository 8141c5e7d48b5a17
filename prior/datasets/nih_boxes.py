"""The part of NIH ChestX-ray14 that LoVT (ECCV 2022) segments: every boxed image, and normal ones."""

import hashlib
from dataclasses import replace
from pathlib import Path

from prior.datasets import base, nih_chestxray14
from prior.errors import InputError

NAME = "nih_boxes"
NORMALS = 100


def read(root: Path) -> base.RawDataset:
    """Read the whole release, and keep the images with a box and 100 that are labelled No Finding.

    LoVT's 100 were drawn without a seed; here they are those whose names have the smallest hashes. An image
    has boxes of the findings that it was boxed for, and may show others.

    Raises:
        InputError: as of `nih_chestxray14`, or there are no boxes.
    """
    raw = nih_chestxray14.read(root)
    if raw.boxes is None or raw.labels is None or raw.boxes.empty:
        raise InputError(
            f"{root / nih_chestxray14.BOXES} is missing or boxes no image of the table; put it there"
        )
    boxed = set(raw.boxes["image_id"])
    names = raw.labels.loc[raw.labels["No_Finding"] == 1, "image_id"]
    normal = sorted(set(names) - boxed, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:NORMALS]
    kept = {*boxed, *normal}
    images, labels = (
        table[table["image_id"].isin(kept)].reset_index(drop=True) for table in (raw.images, raw.labels)
    )
    notes = {**raw.notes, "left_out": len(raw.images) - len(images), "normal_images": len(normal)}
    return replace(
        raw, name=NAME, layout=f"{raw.layout}, boxed images", images=images, labels=labels, notes=notes
    )
