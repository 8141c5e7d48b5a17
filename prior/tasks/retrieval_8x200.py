"""Queries of CheXpert 8x200: images and texts of one class each, ranked against images and texts.

The form of ConVIRT (Zhang et al. 2020): a candidate image is relevant if the query's class is one of its
labels. There are no pairs, so there is no rank of the exact pair.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.prepared import PreparedDataset
from prior.errors import InputError
from prior.tasks.base import ROW, read_subset
from prior.tasks.embeddings import Embedder
from prior.tasks.ranking import Bools, expected_hits

SUBSET = "8x200"
DECIMALS = 6


class Queries(NamedTuple):
    """The list: candidates and image queries with row and patient, image and text queries with class."""

    candidates: pd.DataFrame
    images: pd.DataFrame
    texts: pd.DataFrame


def read_queries(data: PreparedDataset) -> Queries:
    """Read `subsets/8x200.parquet`; images that the prepared data lack are left out.

    Raises:
        InputError: the data set has no such list, or nothing is left of a part of it.
    """
    path = f"{data.root}/subsets/{SUBSET}.parquet"
    table = read_subset(data, SUBSET)
    if table is None:
        raise InputError(
            f"{path} is missing; it belongs to chexpert_8x200 and is written where a preset `strict` is "
            "prepared: add it to the presets"
        )
    found = table.merge(data.images[ROW], on="image_id", validate="many_to_one")
    texts = table[table["role"] == "text_query"]
    parts = [found[found["role"] == "candidate"], found[found["role"] == "image_query"], texts]
    if any(part.empty for part in parts):
        raise InputError(
            f"{path} has {len(parts[0])} readable candidates, {len(parts[1])} readable image queries and "
            f"{len(texts)} text queries, and needs some of each; prepare chexpert_8x200 again"
        )
    return Queries(*(part.reset_index(drop=True) for part in parts))


def rank_queries(
    embedder: Embedder, data: PreparedDataset, pixels: NDArray[np.uint8], ks: Sequence[int]
) -> tuple[pd.DataFrame, int]:
    """Rank images for every image and text query, and texts for every candidate image.

    An image query that is a candidate itself is no candidate of its own.

    Returns:
        One row per direction and query, and the number of candidate images.
    """
    queries = read_queries(data)
    candidates = embedder.images(pixels, queries.candidates["row"].to_numpy())
    images = embedder.images(pixels, queries.images["row"].to_numpy())
    texts = embedder.texts([[text] for text in queries.texts["text"]])
    own = queries.images["image_id"].to_numpy()[:, None] == queries.candidates["image_id"].to_numpy()
    alike = np.where(own, -np.inf, _rounded(images @ candidates.T))
    named, fits = _rounded(texts @ candidates.T), _relevant(data, queries.texts, queries.candidates)
    # A text belongs to no patient, so that each is resampled by itself.
    names = [f"text{number:04d}" for number in range(len(queries.texts))]
    written = queries.texts.assign(image_id=names, patient_id=names)
    parts = [
        _rows(
            "image_to_image", queries.images, alike, _relevant(data, queries.images, queries.candidates), ks
        ),
        _rows("text_to_image", written, named, fits, ks),
        _rows("image_to_text", queries.candidates, named.T, fits.T, ks),
    ]
    return pd.concat(parts, ignore_index=True), len(queries.candidates)


def _rounded(similarity: object) -> NDArray[np.float64]:
    # Matrix products of equal columns may differ in the last digit, which would break their tie.
    return np.asarray(similarity, dtype=np.float64).round(DECIMALS)


def _relevant(data: PreparedDataset, queries: pd.DataFrame, candidates: pd.DataFrame) -> Bools:
    """Whether the class of a query is labelled present in a candidate [queries, candidates]."""
    labels = data.labels.set_index("image_id").reindex(candidates["image_id"])
    names = queries["class"].str.replace(" ", "_")
    return np.asarray((labels[names.tolist()] == 1).to_numpy().T)


def _rows(
    direction: str, queries: pd.DataFrame, similarity: NDArray[np.float64], relevant: Bools, ks: Sequence[int]
) -> pd.DataFrame:
    ranked = np.isfinite(similarity)
    relevant = relevant & ranked
    part = queries[["image_id", "patient_id"]].assign(
        direction=direction, rank=np.nan, pool=ranked.sum(axis=1), n_relevant=relevant.sum(axis=1)
    )
    for k in ks:
        part[f"hits_{k}"], part[f"hit_{k}"] = expected_hits(similarity, relevant, k)
    return part
