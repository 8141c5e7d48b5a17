"""Retrieval between test images and test reports, in both directions.

One frontal image and one report of a test study; pools of at most 1,000 studies, in which no normalised
text occurs twice: an encoder ranks equal reports together, a random ranking does not, so repeats would move
the measured value and not chance. Two kinds of relevance: the exact pair, and the same label vector. All
counts are expectations over random orders of tied candidates.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.protocols import Protocol
from prior.reports.normalise import normalised_text
from prior.reports.tokens import ordered_reports
from prior.tasks import base
from prior.tasks.base import Cell, CellResult, omitted, test_images
from prior.tasks.embeddings import Embedder
from prior.tasks.ranking import Bools, expected_hits, expected_rank

CUTS = (1, 5, 10)
EXAMPLES = 6
_DECIMALS = 6
CHOICES: dict[str, Collection[Any]] = {
    **base.UNTRAINED,
    "images": ["all"],
    "relevant": ["identical normalised text"],
    "ties": ["expected rank"],
    "ks": CUTS,
    "metrics": [*(f"{name}_{k}" for name in ("r_at", "p_at", "hit_at") for k in CUTS), "median_rank"],
}
READ = base.READ | {"pool"}


def check(protocol: Protocol) -> None:
    """Stop unless the task does all that `protocol` states.

    Raises:
        InputError: a knob that the task does not read, or a value that it does not implement.
    """
    protocol.require(CHOICES, READ)


def evaluate(
    bundle: Bundle, data: PreparedDataset, protocol: Protocol, cells: Sequence[Cell], work: Path
) -> Iterator[tuple[Cell, CellResult]]:
    """Rank reports for every image and images for every report.

    Raises:
        InputError: The dataset has no sentences.
    """
    if not bundle.has_text:
        yield from ((cell, omitted("the encoder was trained without text")) for cell in cells)
        return
    if data.sentences.empty:
        raise InputError(f"{data.root}/sentences.parquet is missing or empty; retrieval needs reports")
    reports = ordered_reports(data.sentences)
    embedder = Embedder(bundle)
    pixels = data.pixels(bundle.info.image.input_size, protocol["fit"])
    for cell in cells:
        pool = _pool(data, protocol, cell, reports)
        if len(pool) < 2:
            yield cell, omitted(f"{len(pool)} test studies with image and report, fewer than 2")
            continue
        texts = [reports[study] for study in pool["study_id"]]
        images = embedder.images(pixels, pool["row"].to_numpy())
        # Matrix products of equal columns may differ in the last digit, which would break their tie.
        similarity = (images @ embedder.texts(texts).T).numpy().astype(np.float64).round(_DECIMALS)
        predictions = _predictions(pool, similarity, _same_labels(data, pool["image_id"]))
        info = {"n_train": 0, "n_test": len(pool), "n_pos": len(pool), "pool": len(pool)}
        yield cell, CellResult(predictions, info, _examples(pool, pixels, similarity))


def _examples(
    pool: pd.DataFrame, pixels: NDArray[np.uint8], similarity: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """Return the first query images [n, H, W] and the studies of the five reports that rank first, [n, 5]."""
    studies = pool["study_id"].to_numpy(dtype=str)
    top = np.argsort(-similarity[:EXAMPLES], axis=1, kind="stable")[:, :5]
    rows = pool["row"].to_numpy(np.int64)[:EXAMPLES]
    return {"images": np.asarray(pixels[rows]), "study_id": studies[:EXAMPLES], "top": studies[top]}


def _pool(
    data: PreparedDataset, protocol: Protocol, cell: Cell, reports: dict[str, list[str]]
) -> pd.DataFrame:
    """Choose at most `pool` test studies, one frontal image each, no two with equal reports."""
    images = test_images(data, protocol, cell)[["image_id", "row", "patient_id", "study_id"]]
    images = images.merge(data.images[["image_id", "view"]], on="image_id", validate="one_to_one")
    usable = images[(images["view"] != "LATERAL") & images["study_id"].isin(list(reports))]
    studies = usable.sort_values("image_id").drop_duplicates("study_id")
    order = [hashlib.sha256(f"{cell.seed}:{study}".encode()).hexdigest() for study in studies["study_id"]]
    texts = [normalised_text(reports[study]) for study in studies["study_id"]]
    ordered = studies.assign(order=order, text=texts).sort_values("order")
    chosen = ordered.drop_duplicates("text").head(protocol["pool"]).drop(columns="text")
    return chosen.sort_values("image_id").reset_index(drop=True)


def _equal(keys: NDArray[np.generic]) -> Bools:
    _, codes = np.unique(keys, axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    return np.asarray(codes[:, None] == codes[None, :])


def _same_labels(data: PreparedDataset, image_ids: pd.Series) -> Bools:
    """Whether two images have the same findings labelled present; uncertain counts as not present."""
    table = data.labels.set_index("image_id").reindex(image_ids)
    return _equal((table.to_numpy(dtype=np.float64) == 1).astype(np.int8))


def _predictions(pool: pd.DataFrame, similarity: NDArray[np.float64], same_labels: Bools) -> pd.DataFrame:
    exact = np.eye(len(pool), dtype=bool)
    parts = []
    for direction, scores in (("image_to_text", similarity), ("text_to_image", similarity.T)):
        part = pool[["image_id", "patient_id"]].assign(
            direction=direction,
            rank=expected_rank(scores, exact),
            pool=len(pool),
            n_relevant=same_labels.sum(axis=1),
        )
        for k in CUTS:
            part[f"r_{k}"] = expected_hits(scores, exact, k)[1]
            part[f"hits_{k}"], part[f"hit_{k}"] = expected_hits(scores, same_labels, k)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
