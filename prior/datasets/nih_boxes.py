"""The part of NIH ChestX-ray14 that LoVT (ECCV 2022) segments: every boxed image, and normal ones."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd

from prior.datasets import base, nih_chestxray14
from prior.datasets.cells import require
from prior.errors import InputError

NAME = "nih_boxes"
NORMALS = 100
LISTS = tuple(f"lovt/{side}.csv" for side in ("train", "validation", "test"))


def read(root: Path) -> base.RawDataset:
    """Read the whole release, and keep the images with a box and 100 that are labelled No Finding.

    LoVT's 100 were drawn without a seed: with its lists in `lovt/` (column ID) the images are those of the
    lists, without them the 100 are those whose names have the smallest hashes. An image has boxes of the
    findings that it was boxed for, and may show others.

    Raises:
        InputError: as of `nih_chestxray14`, there are no boxes, or a listed image is not in the table.
    """
    raw = nih_chestxray14.read(root)
    if raw.boxes is None or raw.labels is None or raw.boxes.empty:
        raise InputError(
            f"{root / nih_chestxray14.BOXES} is missing or boxes no image of the table; put it there"
        )
    boxed = set(raw.boxes["image_id"])
    normal = set(raw.labels.loc[raw.labels["No_Finding"] == 1, "image_id"]) - boxed
    listed = _listed(root, raw.images["image_id"])
    kept = listed or {*boxed, *sorted(normal, key=_hash)[:NORMALS]}
    images, labels, boxes = (
        table[table["image_id"].isin(kept)].reset_index(drop=True)
        for table in (raw.images, raw.labels, raw.boxes)
    )
    chosen = "images of LoVT's lists" if listed else "boxed images"
    notes = {**raw.notes, "left_out": len(raw.images) - len(images), "normal_images": len(kept & normal)}
    layout = f"{raw.layout}, {chosen}"
    return replace(raw, name=NAME, layout=layout, images=images, labels=labels, boxes=boxes, notes=notes)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _listed(root: Path, known: pd.Series) -> set[str]:
    """Return the images of LoVT's three lists, none where the folder has no list."""
    there = [name for name in LISTS if (root / name).is_file()]
    if not there:
        return set()
    found: set[str] = set()
    for name in LISTS:
        # One that is missing beside the others is named by the reader of tables.
        frame = base.read_csv(root / name, ["ID"])
        require(frame["ID"].isin(known), frame, "ID", "an image of the table of NIH", root / name)
        found |= set(frame["ID"])
    return found
