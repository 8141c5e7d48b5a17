"""Retrieval between test images and test reports, in both directions, and by the lists of 8x200.

One frontal image and one report of a test study. Two kinds of relevance: the exact pair, and a class: the
same findings present, the same single finding (as in 5x200), or a query's class among the labels (as in
8x200). Where the exact pair is that of identical text, no normalised text is in a pool twice: an encoder
ranks equal reports together, a random ranking does not, so repeats would move the measured value and not
chance. All counts are expectations over random orders of tied candidates.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.metrics.retrieval import CUTS
from prior.protocols import Protocol
from prior.reports.tokens import ordered_reports
from prior.tasks import base
from prior.tasks.base import Cell, CellResult, omitted
from prior.tasks.embeddings import Embedder
from prior.tasks.ranking import Bools, expected_hits, expected_rank
from prior.tasks.retrieval_8x200 import DECIMALS, rank_queries
from prior.tasks.retrieval_pools import EVERY, IDENTICAL, RULES, study_pool

LIST = "list of 8x200"
EXAMPLES = 6
# What may be stated of each kind of candidates: the exact pair, the class, and what bounds their number.
FORMS: dict[str, tuple[list[str], str, set[str]]] = {
    EVERY: ([IDENTICAL, "own report"], "equal findings present", {"pool"}),
    **dict.fromkeys(RULES, ([IDENTICAL, "own report"], "same finding", {"per_class"})),
    LIST: (["none"], "class among the labels", set()),
}

READ = base.READ | {"ks"}


def check(protocol: Protocol) -> None:
    """Stop unless the task does all that `protocol` states.

    Raises:
        InputError: a knob that the task does not read, a value that it does not implement, or `ks` without
            those that every protocol reports.
    """
    stated = protocol["candidates"]
    pair, same, bound = FORMS.get(stated, FORMS[EVERY])
    ks = protocol["ks"]
    names = ("p_at", "hit_at") if stated == LIST else ("r_at", "p_at", "hit_at")
    rank = [] if stated == LIST else ["median_rank"]
    choices: dict[str, Collection[Any]] = {
        **base.UNTRAINED,
        "images": ["all"],
        "candidates": FORMS,
        "relevant": pair,
        "class_relevant": [same],
        "ties": ["expected rank"],
        "metrics": [*(f"{name}_{k}" for name in names for k in ks), *rank],
    }
    protocol.require(choices, READ | bound)
    missing = [k for k in CUTS if k not in ks]
    if missing:
        raise InputError(
            f"prior/protocols/{protocol.family}.yaml: `ks` of retrieval {protocol.setting} lacks {missing}, "
            "which every protocol reports; add them"
        )


def evaluate(
    bundle: Bundle, data: PreparedDataset, protocol: Protocol, cells: Sequence[Cell], work: Path
) -> Iterator[tuple[Cell, CellResult]]:
    """Rank reports for every image and images for every report, or by the lists of 8x200.

    Raises:
        InputError: The dataset has no sentences, or not the list or findings that the candidates need.
    """
    if not bundle.has_text:
        yield from ((cell, omitted("the encoder was trained without text")) for cell in cells)
        return
    listed = protocol["candidates"] == LIST
    if data.sentences.empty and not listed:
        raise InputError(f"{data.root}/sentences.parquet is missing or empty; retrieval needs reports")
    reports = {} if listed else ordered_reports(data.sentences)
    embedder = Embedder(bundle)
    pixels = data.pixels(bundle.info.image.input_size, protocol["fit"])
    for cell in cells:
        if listed:
            predictions, n = rank_queries(embedder, data, pixels, protocol["ks"])
            yield cell, CellResult(predictions, {"n_train": 0, "n_test": n, "n_pos": n, "pool": n})
            continue
        pool = study_pool(data, protocol, cell, reports)
        if len(pool) < 2:
            yield cell, omitted(f"{len(pool)} test studies with image and report, fewer than 2")
            continue
        if "class" in pool and pool["class"].nunique() < 2:
            yield cell, omitted(f"all {len(pool)} test studies have the finding {pool['class'].iloc[0]}")
            continue
        texts = [reports[study] for study in pool["study_id"]]
        images = embedder.images(pixels, pool["row"].to_numpy())
        # Matrix products of equal columns may differ in the last digit, which would break their tie.
        similarity = (images @ embedder.texts(texts).T).numpy().astype(np.float64).round(DECIMALS)
        same = (
            _equal(pool["class"].to_numpy(str)) if "class" in pool else _same_labels(data, pool["image_id"])
        )
        predictions = _predictions(pool, similarity, same, protocol["ks"])
        info: dict[str, Any] = {"n_train": 0, "n_test": len(pool), "n_pos": len(pool), "pool": len(pool)}
        if "class" in pool:
            info["per_class"] = {str(name): int(n) for name, n in pool["class"].value_counts().items()}
        yield cell, CellResult(predictions, info, _examples(pool, pixels, similarity))


def _examples(
    pool: pd.DataFrame, pixels: NDArray[np.uint8], similarity: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """Return the first query images [n, H, W] and the studies of the five reports that rank first, [n, 5]."""
    studies = pool["study_id"].to_numpy(dtype=str)
    top = np.argsort(-similarity[:EXAMPLES], axis=1, kind="stable")[:, :5]
    rows = pool["row"].to_numpy(np.int64)[:EXAMPLES]
    return {"images": np.asarray(pixels[rows]), "study_id": studies[:EXAMPLES], "top": studies[top]}


def _equal(keys: NDArray[np.generic]) -> Bools:
    _, codes = np.unique(keys, axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    return np.asarray(codes[:, None] == codes[None, :])


def _same_labels(data: PreparedDataset, image_ids: pd.Series) -> Bools:
    """Whether two images have the same findings labelled present; uncertain counts as not present."""
    table = data.labels.set_index("image_id").reindex(image_ids)
    return _equal((table.to_numpy(dtype=np.float64) == 1).astype(np.int8))


def _predictions(
    pool: pd.DataFrame, similarity: NDArray[np.float64], same: Bools, ks: Sequence[int]
) -> pd.DataFrame:
    exact = np.eye(len(pool), dtype=bool)
    parts = []
    for direction, scores in (("image_to_text", similarity), ("text_to_image", similarity.T)):
        part = pool[["image_id", "patient_id"]].assign(
            direction=direction,
            rank=expected_rank(scores, exact),
            pool=len(pool),
            n_relevant=same.sum(axis=1),
        )
        for k in ks:
            part[f"r_{k}"] = expected_hits(scores, exact, k)[1]
            part[f"hits_{k}"], part[f"hit_{k}"] = expected_hits(scores, same, k)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
