"""`prior embed`: one vector per image, as JSON lines or Parquet."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prior.data.batches import load_images
from prior.data.files import atomic_path
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.export.inputs import image_files, load_squares, open_bundle, require_absent
from prior.tasks.embeddings import Embedder
from prior.tasks.maps import tune_layout
from prior.training.precision import LAYOUT, choose_device

BATCH = 64

Vectors = NDArray[np.float32]


def embed(bundle_path: Path, inputs: Sequence[Path], out: Path | None) -> None:
    """Write the path and the embedding of every image; memory does not grow with their number.

    Args:
        bundle_path: folder of the bundle.
        inputs: images and folders of images.
        out: `.jsonl` or `.parquet` file to write whole or not at all; None prints JSON lines.

    Raises:
        InputError: there is no bundle or no image, an image cannot be decoded, or `out` exists or has
            another suffix.
    """
    bundle = open_bundle(bundle_path)
    if out is not None:
        require_absent(out)
        if out.suffix not in (".jsonl", ".parquet"):
            raise InputError(f"{out}: the suffix must be .jsonl or .parquet")
    parts = embeddings(bundle, image_files(inputs))
    if out is None:
        for files, vectors in parts:
            sys.stdout.write(_lines(files, vectors))
    elif out.suffix == ".jsonl":
        with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8") as stream:
            for files, vectors in parts:
                stream.write(_lines(files, vectors))
    else:
        with atomic_path(out) as temporary:
            _write_parquet(temporary, parts)


def embeddings(bundle: Bundle, files: Sequence[Path]) -> Iterator[tuple[Sequence[Path], Vectors]]:
    """Yield batches of files with their embeddings [n, D].

    A bundle with text gives unit vectors of the space that images and reports share, as zero-shot
    classification and retrieval use them; one without gives the spatial mean of the last map, the feature of
    the linear probe.
    """
    encode = _shared_space(bundle) if bundle.has_text else _pooled(bundle)
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        yield batch, encode(load_squares(batch, bundle.info))


def _shared_space(bundle: Bundle) -> Callable[[NDArray[np.uint8]], Vectors]:
    embedder = Embedder(bundle)

    def encode(squares: NDArray[np.uint8]) -> Vectors:
        return embedder.images(squares, np.arange(len(squares))).numpy()

    return encode


def _pooled(bundle: Bundle) -> Callable[[NDArray[np.uint8]], Vectors]:
    device = choose_device()
    encoder = tune_layout(bundle.image_encoder(), device)

    @torch.inference_mode()
    def encode(squares: NDArray[np.uint8]) -> Vectors:
        images = load_images(squares, np.arange(len(squares)), str(device))
        maps = encoder(images.contiguous(memory_format=LAYOUT))
        pooled: Vectors = maps[-1].mean(dim=(2, 3)).cpu().numpy()
        return pooled

    return encode


def _lines(files: Sequence[Path], vectors: Vectors) -> str:
    # Through str: the shortest digits that give the same float32 again.
    rows = ([float(str(value)) for value in vector] for vector in vectors)
    entries = ({"path": str(file), "embedding": row} for file, row in zip(files, rows, strict=True))
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def _write_parquet(path: Path, parts: Iterator[tuple[Sequence[Path], Vectors]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    with ExitStack() as stack:
        writer: Any = None
        for files, vectors in parts:
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            table = pa.table({"path": [str(file) for file in files], "embedding": column})
            if writer is None:
                writer = stack.enter_context(parquet.ParquetWriter(path, table.schema))
            writer.write_table(table)
