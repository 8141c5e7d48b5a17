"""Join what a reader found in the tables with what decoding found in the images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from prior.data import store
from prior.data.files import digest
from prior.data.schemas import parts_of
from prior.datasets.base import RawDataset, read_report
from prior.errors import InputError

MASK_CHUNK = 32
IDS = ("image_id", "study_id", "patient_id", "source")
SIDES = ("x_min", "y_min", "x_max", "y_max")


def compact(raw: RawDataset) -> None:
    """Hold ids without an object per cell, in place, and give back what reading no longer needs."""
    for frame in (raw.images, raw.labels, raw.boxes, raw.masks, raw.reports):
        if frame is not None:
            for name in frame.columns.intersection(list(IDS)):
                frame[name] = frame[name].astype("str")
    pa.default_memory_pool().release_unused()


def keep_readable(
    raw: RawDataset, facts: pa.Table, max_unreadable: int
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Add size, row, view, sex and age to `raw.images`; drop images that would not open.

    Args:
        raw: changed in place.
        facts: what `store.decode` returned.
        max_unreadable: how many images may fail.

    Returns:
        Table `hashes` (image_id, pixels, perceptual) in the order of the images, and what was dropped.

    Raises:
        InputError: more images than allowed will not open.
    """
    lost = pc.is_valid(facts["error"])
    bad = facts.filter(lost)
    if len(bad) > max_unreadable:
        raise InputError(
            f"{len(bad)} of {len(facts)} images will not open (allowed: {max_unreadable}); "
            f"the first is {bad['error'][0]}"
        )
    readable = ~lost.to_numpy()
    dropped = [
        {"source": str(source), "reason": f"image will not open: {reason}"}
        for source, reason in zip(raw.images["source"][~readable], bad["reason"].to_pylist(), strict=True)
    ]
    images = raw.images.assign(row=np.arange(len(facts)))
    if len(bad):  # else nothing is copied
        facts, images = facts.filter(pc.invert(lost)), images[readable].reset_index(drop=True)
    good = facts.to_pandas()
    for name in ("height", "width"):
        images[name] = good[name].to_numpy(dtype=int)
    for name in ("view", "sex", "age"):
        stated = images[name].astype(good[name].dtype)
        images[name] = stated.where(stated.notna(), good[name])
    raw.images = images
    _drop_orphans(raw)
    hashes = {"pixels": good["sha256"], "perceptual": good["perceptual"]}
    return pd.DataFrame({"image_id": images["image_id"], **hashes}), dropped


def _drop_orphans(raw: RawDataset) -> None:
    known = raw.images["image_id"]
    for table in ("labels", "boxes", "masks"):
        frame = getattr(raw, table)
        if frame is not None and not (kept := frame["image_id"].isin(known)).all():
            setattr(raw, table, frame[kept].reset_index(drop=True))


def clip_boxes(raw: RawDataset) -> int:
    """Cut boxes at the image border, in place; return how many were cut.

    Raises:
        InputError: a box lies wholly outside its image.
    """
    if raw.boxes is None or raw.boxes.empty:
        return 0
    shapes = raw.images.set_index("image_id")
    limits = raw.boxes["image_id"].map(shapes["width"]), raw.boxes["image_id"].map(shapes["height"])
    limit = np.stack([*limits, *limits], axis=1).astype(float)
    sides = raw.boxes[list(SIDES)].to_numpy(dtype=float)
    outside = (sides[:, :2] >= limit[:, :2]).any(axis=1)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        values = ", ".join(f"{name} {value:g}" for name, value in zip(SIDES, sides[first], strict=True))
        raise InputError(
            f"{raw.root}: a box ({values}) of image {raw.boxes['image_id'].iloc[first]} lies outside its "
            f"{limit[first, 0]:g} x {limit[first, 1]:g} pixels; correct or remove its row in the box table"
        )
    clipped = np.clip(sides, 0.0, limit)
    raw.boxes[list(SIDES)] = clipped
    return int((clipped != sides).any(axis=1).sum())


def draw_masks(
    raw: RawDataset, work: Path, size: int, fits: Sequence[str], workers: int, rows: int
) -> dict[str, str]:
    """Draw masks, or filled boxes where a dataset has only boxes; return the hash of the array, if any."""
    targets = tuple((fit, str(work / f"masks_{size}_{fit}.npy")) for fit in fits)
    tasks = _mask_tasks(raw, targets, size)
    if not tasks:
        return {}
    for _, path in targets:
        store.create_store(Path(path), rows, size)
    return {"masks": digest(store.draw_masks(tasks, work, workers))}


def _mask_tasks(raw: RawDataset, targets: tuple[tuple[str, str], ...], size: int) -> list[store.MaskTask]:
    rles: dict[str, tuple[Any, ...]] = {}
    boxes: dict[str, tuple[Any, ...]] = {}
    if raw.masks is not None:
        rles = _by_image(raw.masks, raw.masks["rle"].tolist())
    elif raw.boxes is not None:
        sides = raw.boxes[list(SIDES)].to_numpy(dtype=float).tolist()
        boxes = _by_image(raw.boxes, [tuple(side) for side in sides])
    marked = raw.images[raw.images["image_id"].isin({*rles, *boxes})]
    parts = [marked.iloc[start : start + MASK_CHUNK] for start in range(0, len(marked), MASK_CHUNK)]
    return [
        store.MaskTask(
            rows=tuple(int(row) for row in part["row"]),
            shapes=tuple((int(h), int(w)) for h, w in zip(part["height"], part["width"], strict=True)),
            rles=tuple(rles.get(image, ()) for image in part["image_id"]),
            boxes=tuple(boxes.get(image, ()) for image in part["image_id"]),
            targets=targets,
            size=size,
        )
        for part in parts
    ]


def _by_image(frame: pd.DataFrame, values: list[Any]) -> dict[str, tuple[Any, ...]]:
    grouped: dict[str, list[Any]] = {}
    for image, value in zip(frame["image_id"], values, strict=True):
        grouped.setdefault(image, []).append(value)
    return {image: tuple(items) for image, items in grouped.items()}


def with_sections(reports: pd.DataFrame, root: Path) -> Iterator[pd.DataFrame]:
    """Yield the reports in parts, with findings and impression; the raw format may state these itself.

    Args:
        reports: as in `RawDataset`.
        root: folder that their sources are relative to.

    Raises:
        InputError: a study has two reports.
    """
    twice = reports["study_id"].duplicated()
    if twice.any():
        raise InputError(f"study {reports['study_id'][twice].iloc[0]} has two reports; remove one of them")
    for part in parts_of(reports):
        if "source" in part:
            part["text"] = [read_report(root / source) for source in part.pop("source")]
        yield part if {"findings", "impression"} <= set(part.columns) else _sectioned(part)


def _sectioned(reports: pd.DataFrame) -> pd.DataFrame:
    from prior.reports.sections import split_sections

    sections = [split_sections(text) for text in reports["text"]]
    findings = pd.Series([part.findings for part in sections], index=reports.index, dtype=object)
    impression = pd.Series([part.impression for part in sections], index=reports.index, dtype=object)
    return reports.assign(findings=findings, impression=impression)
