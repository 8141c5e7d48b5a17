"""Image and mask stores: uint8 [N, size, size] arrays on disk, one row per image, read by memory map."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from prior.data.chunks import run_chunks
from prior.data.geometry import fit_image, fit_mask
from prior.data.hashes import perceptual_hash
from prior.data.pixels import Picture, Unreadable
from prior.errors import InputError

CHUNK = 32
FACTS = pa.schema(
    {
        "height": pa.int32(),
        "width": pa.int32(),
        "sha256": pa.large_string(),
        "perceptual": pa.large_string(),
        "view": pa.large_string(),
        "sex": pa.large_string(),
        "age": pa.float64(),
        "error": pa.large_string(),
        "reason": pa.large_string(),
    }
)


@dataclass(frozen=True)
class DecodeTask:
    """Rows `start`.. of the image store: their files and where the squares go."""

    start: int
    paths: tuple[str, ...]
    targets: tuple[tuple[str, str], ...]
    size: int
    load: Callable[[Path, int], Picture]


@dataclass(frozen=True)
class MaskTask:
    """Store rows with their original size and either RLE strings or boxes (x_min, y_min, x_max, y_max)."""

    rows: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    rles: tuple[tuple[str, ...], ...]
    boxes: tuple[tuple[tuple[float, float, float, float], ...], ...]
    targets: tuple[tuple[str, str], ...]
    size: int


def create_store(path: Path, rows: int, size: int) -> None:
    """Make an all-zero uint8 [rows, size, size] array file, unless it is there already."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(rows, size, size)).flush()


def open_store(path: Path) -> NDArray[np.uint8]:
    """Map an array file for reading.

    Raises:
        InputError: the file is missing.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; run `prior prepare` with this size and fit")
    store: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return store


def decode(
    root: Path,
    sources: Sequence[str],
    load: Callable[[Path, int], Picture],
    size: int,
    targets: dict[str, Path],
    work: Path,
    workers: int,
) -> pa.Table:
    """Decode every file `root`/`sources` once into the stores `targets` (fit -> array file).

    Returns:
        A row of `FACTS` per file: height, width, sha256 of its square, perceptual hash of the film, and view,
        sex and age if its header has them; or, if it will not open, `error` (the message) and `reason`.
    """
    for path in targets.values():
        create_store(path, len(sources), size)
    where = tuple((fit, str(path)) for fit, path in targets.items())
    starts = range(0, len(sources), CHUNK)
    tasks = (
        DecodeTask(i, tuple(str(root / name) for name in sources[i : i + CHUNK]), where, size, load)
        for i in starts
    )
    chunks = run_chunks(decode_chunk, tasks, len(starts), work, workers, "images")
    batches = (pa.RecordBatch.from_pylist(chunk, FACTS) for chunk in chunks)
    return pa.Table.from_batches(batches, FACTS).combine_chunks()


def decode_chunk(task: DecodeTask) -> list[dict[str, Any]]:
    """Decode the files of one task into their rows."""
    stores = {fit: np.load(path, mmap_mode="r+") for fit, path in task.targets}
    facts: list[dict[str, Any]] = []
    for row, path in enumerate(task.paths, start=task.start):
        try:
            picture = task.load(Path(path), 2 * task.size)
        except Unreadable as error:
            facts.append({"error": str(error), "reason": error.reason})
            continue
        for fit, store in stores.items():
            store[row] = fit_image(picture.pixels, picture.height, picture.width, task.size, fit)
        first = hashlib.sha256(next(iter(stores.values()))[row].tobytes()).hexdigest()
        facts.append(
            {
                "height": picture.height,
                "width": picture.width,
                "sha256": first,
                "perceptual": perceptual_hash(picture.pixels),
                **picture.header,
            }
        )
    for store in stores.values():
        store.flush()
    return facts


def draw_masks(tasks: Sequence[MaskTask], work: Path, workers: int) -> list[str]:
    """Fill the mask stores; return one hash per task (rows without masks stay zero)."""
    return list(run_chunks(mask_chunk, tasks, len(tasks), work, workers, "masks"))


def mask_chunk(task: MaskTask) -> str:
    """Draw the union of the masks of each row of one task; return the hash of what was drawn."""
    stores = {fit: np.load(path, mmap_mode="r+") for fit, path in task.targets}
    drawn = hashlib.sha256()
    for row, shape, rles, boxes in zip(task.rows, task.shapes, task.rles, task.boxes, strict=True):
        mask = union_of_rles(rles, shape) if rles else filled_boxes(boxes, shape)
        for fit, store in stores.items():
            store[row] = fit_mask(mask, task.size, fit)
            drawn.update(store[row].tobytes())
    for store in stores.values():
        store.flush()
    return drawn.hexdigest()


def union_of_rles(rles: Sequence[str], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the union [h, w] of COCO compressed masks, all of size `shape`."""
    from pycocotools import mask as coco

    parts = [{"size": list(shape), "counts": rle.encode("ascii")} for rle in rles]
    try:
        union: NDArray[np.uint8] = coco.decode(coco.merge(parts))
    except ValueError as error:
        raise InputError(f"a mask does not fit its image of {shape[0]}x{shape[1]} pixels ({error})") from None
    return union


def filled_boxes(
    boxes: Sequence[tuple[float, float, float, float]], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return a mask [h, w] that is 1 inside every box, touching at least one pixel each."""
    height, width = shape
    mask = np.zeros(shape, dtype=np.uint8)
    for x_min, y_min, x_max, y_max in boxes:
        left, top = min(round(x_min), width - 1), min(round(y_min), height - 1)
        mask[top : max(round(y_max), top + 1), left : max(round(x_max), left + 1)] = 1
    return mask
