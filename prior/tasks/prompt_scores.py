"""Scores of images against the prompts of every finding, as a protocol's knobs say."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from prior.protocols import Protocol
from prior.tasks.embeddings import Embedder
from prior.tasks.prompts import Prompts

Floats = NDArray[np.float64]
_BATCH = 64

DIFFERENCE = "cosine to the positive minus cosine to the negative"
SCORE = (DIFFERENCE, "cosine to the positive")
MEAN_EMBEDDING = "mean of normalised embeddings"
# How the similarities [images, phrasings] to one finding's phrasings become one score. The first is taken of
# embeddings, and so of global similarities only.
POOLING: dict[str, Callable[[Floats], Floats] | None] = {
    MEAN_EMBEDDING: None,
    "mean of scores": lambda scores: scores.mean(axis=1),
    "maximum of scores": lambda scores: scores.max(axis=1),
}
# Weights of the similarities that `Method.scores` returns.
SIMILARITY: dict[str, Mapping[str, float]] = {
    "global": {"global": 1.0},
    "local": {"local": 1.0},
    "mean of global and local": {"global": 0.5, "local": 0.5},
    "global + half of local": {"global": 1.0, "local": 0.5},
}


def z_score(scores: Floats) -> Floats:
    """Standardise each finding's scores [images, findings] over the images; constant ones become 0."""
    spread = scores.std(axis=0)
    return np.asarray((scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def softmax(scores: Floats) -> Floats:
    """Softmax of scores [images, findings] over the findings."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def unchanged(scores: Floats) -> Floats:
    """Return the scores."""
    return scores


# What is done with each similarity [images, findings] before they are added, and with their sum.
NORMALISATION: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "none": (unchanged, unchanged),
    "softmax over findings": (softmax, unchanged),
    # Transductive: a score depends on the other test images.
    "z-score of each finding over the test images": (unchanged, z_score),
}

PRIOR_START = math.log(100)
"""PRIOR's logarithm of the scale before training: its temperature is .01."""


def log_scale(method: nn.Module) -> float:
    """Return the logarithm of the scale that `method` learned for global cosines; PRIOR's first, if none."""
    learned = getattr(method, "log_scale", None)
    return float(learned.detach()) if isinstance(learned, Tensor) else PRIOR_START


# What global similarities are multiplied by before they are normalised.
GLOBAL_SCALE: dict[str, Callable[[nn.Module], float]] = {
    "none": lambda method: 1.0,
    # Training multiplies by the scale itself: PRIOR's release leaves out the exponential.
    "logarithm of the learned scale": log_scale,
}


def mean_embeddings(embedder: Embedder, groups: Sequence[Sequence[str]]) -> Tensor:
    """Return one unit embedding per group of phrasings [groups, D]: the normalised mean of theirs."""
    embedded = embedder.texts([[text] for group in groups for text in group])
    parts = torch.split(embedded, [len(group) for group in groups])
    return functional.normalize(torch.stack([part.mean(dim=0) for part in parts]), dim=-1)


class PromptScorer:
    """Scores of images for findings.

    Args:
        embedder: the method.
        pixels: image store [N, H, W].
        protocol: knobs `pooling`, `score`, `similarity`, `normalisation` and, if stated, `global_scale`.
    """

    def __init__(self, embedder: Embedder, pixels: NDArray[np.uint8], protocol: Protocol) -> None:
        self.embedder, self.pixels = embedder, pixels
        self.weights = SIMILARITY[protocol["similarity"]]
        self.pool, self.difference = POOLING[protocol["pooling"]], protocol["score"] == DIFFERENCE
        self.each, self.total = NORMALISATION[protocol["normalisation"]]
        self.scale = {"global": GLOBAL_SCALE[protocol.knobs.get("global_scale", "none")](embedder.method)}

    def scores(
        self, rows: NDArray[np.int64], prompts: Prompts, findings: Sequence[str], positive_only: bool = False
    ) -> Floats | None:
        """Score images.

        Args:
            rows: store rows [n].
            prompts: phrasings by finding and side.
            findings: F of them.
            positive_only: leave the negative side out whatever the protocol's score is.

        Returns:
            [n, F], larger is more likely present; None if the method lacks a similarity that is asked for.
        """
        both = self.difference and not positive_only
        sides = ["positive", "negative"] if both else ["positive"]
        groups = [prompts[finding][side] for side in sides for finding in findings]
        found = self._similarities(rows, groups)
        if not set(self.weights) <= set(found):
            return None
        total = np.zeros((len(rows), len(findings)))
        for weight, similarity in self._fused(found):
            pooled = self._pooled(similarity, groups)
            parts = [self.each(part) for part in np.split(pooled, len(sides), axis=1)]
            total += weight * (parts[0] - parts[1] if both else parts[0])
        return self.total(total)

    def _fused(self, found: Mapping[str, Floats]) -> list[tuple[float, Floats]]:
        """Return weighted similarities; unless each is normalised by itself, they are added first."""
        scaled = [(w, self.scale.get(name, 1.0) * found[name]) for name, w in self.weights.items()]
        if self.each is not unchanged:
            return scaled
        # As in GLoRIA's release, the best prompt is the one of the best sum.
        return [(1.0, np.sum([weight * similarity for weight, similarity in scaled], axis=0))]

    def _similarities(self, rows: NDArray[np.int64], groups: Sequence[Sequence[str]]) -> dict[str, Floats]:
        """Return similarities to each phrasing, [n, phrasings], or to the mean of each group, [n, groups]."""
        if self.pool is not None:
            return self._pairwise(rows, [text for group in groups for text in group])
        images = self.embedder.images(self.pixels, rows)
        return {"global": (images @ mean_embeddings(self.embedder, groups).T).numpy().astype(np.float64)}

    def _pooled(self, similarity: Floats, groups: Sequence[Sequence[str]]) -> Floats:
        """Return [n, groups]."""
        pool = self.pool
        if pool is None:
            return similarity
        ends = np.cumsum([len(group) for group in groups])[:-1]
        return np.stack([pool(part) for part in np.split(similarity, ends, axis=1)], axis=1)

    @torch.inference_mode()
    def _pairwise(self, rows: NDArray[np.int64], texts: Sequence[str]) -> dict[str, Floats]:
        """Return the method's similarities of every image and text, [n, texts]."""
        reports = self.embedder.report_features([[text] for text in texts])
        parts: dict[str, list[Floats]] = {}
        for start in range(0, len(rows), _BATCH):
            images = self.embedder.image_features(self.pixels, rows[start : start + _BATCH])
            for name, scores in self.embedder.method.scores(images, reports).items():
                parts.setdefault(name, []).append(scores.float().cpu().numpy().astype(np.float64))
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}
