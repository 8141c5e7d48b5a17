"""The prototype bank made visible: which sentences of the test reports each prototype stands for.

Every sentence gives one row: its nearest prototype and the entropy of its assignment
(`Method.prototype_logits`, without noise). The atlas that is kept beside them names sentences by study and
position and holds no text.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.protocols import Protocol
from prior.reports.normalise import normalised_text
from prior.reports.tokens import ordered_sentences
from prior.tasks import base
from prior.tasks.base import Cell, CellResult, omitted, split_preset, test_images
from prior.tasks.embeddings import Embedder

Floats = NDArray[np.float32]
_BATCH = 64
CHOICES: dict[str, Collection[Any]] = {
    **base.UNTRAINED,
    "images": ["all"],
    "noise": ["none"],
    "reports": ["test studies"],
    "metrics": ["dead_prototypes", "dead_prototypes_count", "assignment_entropy", "used_perplexity"],
}
READ = base.READ | {"nearest"}


def check(protocol: Protocol) -> None:
    """Stop unless the task does all that `protocol` states.

    Raises:
        InputError: a knob that the task does not read, or a value that it does not implement.
    """
    protocol.require(CHOICES, READ)


def evaluate(
    bundle: Bundle, data: PreparedDataset, protocol: Protocol, cells: Sequence[Cell], work: Path
) -> Iterator[tuple[Cell, CellResult]]:
    """Assign the sentences of all test reports to the prototypes.

    Raises:
        InputError: The dataset has no sentences.
    """
    if not bundle.has_text:
        yield from ((cell, omitted("the encoder was trained without text")) for cell in cells)
        return
    if data.sentences.empty:
        raise InputError(f"{data.root}/sentences.parquet is missing or empty; prototypes need reports")
    embedder = Embedder(bundle)
    for cell in cells:
        sentences = readable(embedder, test_sentences(data, protocol, cell))
        if sentences.empty:
            yield cell, omitted("no test report with a sentence")
            continue
        read, probabilities = assignments(embedder, sentences)
        if probabilities is None:
            yield cell, omitted("the method has no prototypes")
            continue
        predictions = _predictions(read, probabilities)
        studies = int(read["study_id"].nunique())
        counts = {"n_train": 0, "n_test": studies, "n_pos": studies, "n_sentences": len(read)}
        info = {"split": split_preset(data, protocol, cell), **counts}
        yield cell, CellResult(predictions, info, atlas(read, probabilities, protocol["nearest"]))


def test_sentences(data: PreparedDataset, protocol: Protocol, cell: Cell) -> pd.DataFrame:
    """Return the sentences of the test studies in the text encoder's order, each with an image's ids."""
    images = test_images(data, protocol, cell).sort_values("image_id").drop_duplicates("study_id")
    ordered = ordered_sentences(data.sentences)[["study_id", "position", "sentence"]]
    return ordered.merge(images[["study_id", "image_id", "patient_id"]], on="study_id", validate="m:1")


def readable(embedder: Embedder, sentences: pd.DataFrame) -> pd.DataFrame:
    """Leave out sentences without any token: the tokenizer skips them, and so they have no slot."""
    distinct = list(sentences["sentence"].unique())
    if not distinct:
        return sentences
    known = (embedder.tokens([[text] for text in distinct]).n_sentences > 0).tolist()
    kept = sentences["sentence"].map(dict(zip(distinct, known, strict=True)))
    return sentences[kept].reset_index(drop=True)


def assignments(embedder: Embedder, sentences: pd.DataFrame) -> tuple[pd.DataFrame, Floats | None]:
    """Return the N sentences that were read and their assignment probabilities [N, K].

    Sentences beyond the most tokens that the encoder takes are not read. None if there are no prototypes.
    """
    studies = [group for _, group in sentences.groupby("study_id", sort=False)]
    read, parts = [], []
    for start in range(0, len(studies), _BATCH):
        batch = studies[start : start + _BATCH]
        tokens = embedder.tokens([list(group["sentence"]) for group in batch])
        with torch.inference_mode():
            logits = embedder.method.prototype_logits(tokens)
        if logits is None:
            return sentences, None
        slots = torch.arange(logits.shape[1], device=logits.device) < tokens.n_sentences.unsqueeze(1)
        parts.append(logits[slots].float().softmax(dim=-1).cpu().numpy())
        counts = tokens.n_sentences.tolist()
        read += [group.head(count) for group, count in zip(batch, counts, strict=True)]
    return pd.concat(read, ignore_index=True), np.concatenate(parts)


def entropy(probabilities: Floats) -> NDArray[np.float64]:
    """Return the entropy in nats of each of N assignments [N, K]."""
    p = probabilities.astype(np.float64)
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)


def _predictions(sentences: pd.DataFrame, probabilities: Floats) -> pd.DataFrame:
    return sentences[["image_id", "patient_id", "position"]].assign(
        nearest=probabilities.argmax(axis=1),
        entropy=entropy(probabilities),
        n_prototypes=probabilities.shape[1],
    )


def atlas(sentences: pd.DataFrame, probabilities: Floats, nearest: int) -> dict[str, NDArray[Any]]:
    """Describe every prototype, the most frequent first.

    Args:
        sentences: N sentences with `study_id`, `position` and `sentence`.
        probabilities: their assignments, [N, K].
        nearest: how many sentences of different text to name for each prototype.

    Returns:
        `prototype` [K]; `frequency` [K], share of the sentences that it is nearest to; `entropy` [K], their
        mean assignment entropy in nats, NaN if there are none; `study_id` and `position` [K, nearest] of the
        sentences with the largest probability, empty and -1 where there are too few.
    """
    winner, count = probabilities.argmax(axis=1), probabilities.shape[1]
    members = np.bincount(winner, minlength=count)
    total = np.bincount(winner, weights=entropy(probabilities), minlength=count)
    order = np.argsort(-members, kind="stable")
    _, text = np.unique([normalised_text([s]) for s in sentences["sentence"]], return_inverse=True)
    study = np.full((count, nearest), "", dtype=sentences["study_id"].to_numpy(dtype=str).dtype)
    position = np.full((count, nearest), -1)
    for place, prototype in enumerate(order):
        ranked = np.argsort(-probabilities[:, prototype], kind="stable")
        first = ranked[np.sort(np.unique(text[ranked], return_index=True)[1])[:nearest]]
        study[place, : len(first)] = sentences["study_id"].to_numpy(dtype=str)[first]
        position[place, : len(first)] = sentences["position"].to_numpy()[first]
    mean = np.where(members > 0, total / np.maximum(members, 1), np.nan)
    return {
        "prototype": order,
        "frequency": members[order] / len(sentences),
        "entropy": mean[order],
        "study_id": study,
        "position": position,
    }
