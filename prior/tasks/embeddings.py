"""What tasks without labels read of a bundle: unit global embeddings, or all features."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from prior.data.batches import load_images
from prior.encoders.bundle import Bundle
from prior.methods.base import ImageFeatures, Method, ReportFeatures, ReportTokens
from prior.reports.tokens import encode_texts
from prior.tasks.maps import tune_layout
from prior.training.precision import LAYOUT, choose_device

_BATCH = 64


class Embedder:
    """The two towers of a bundle in evaluation mode, in float32 as `extract_features` says.

    Args:
        bundle: A bundle with a text encoder.

    Attributes:
        method: The whole model.
    """

    def __init__(self, bundle: Bundle) -> None:
        method = bundle.method()
        if method is None or bundle.info.text is None:
            raise ValueError(f"{bundle.name} has no text encoder")
        self._device = choose_device()
        self.method: Method = tune_layout(method, self._device).eval()
        self._tokenizer: Tokenizer = bundle.tokenizer()
        self._max_tokens = bundle.info.text.max_tokens

    @torch.inference_mode()
    def images(self, pixels: NDArray[np.uint8], rows: NDArray[np.int64]) -> Tensor:
        """Embed rows [n] of an image store; returns [n, D] float32 of unit length."""
        parts = []
        for start in range(0, len(rows), _BATCH):
            features = self.image_features(pixels, rows[start : start + _BATCH])
            parts.append(functional.normalize(features.global_, dim=-1).cpu())
        return torch.cat(parts)

    @torch.inference_mode()
    def texts(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Embed texts, each a list of sentences; returns [n, D] float32 of unit length.

        Equal texts are encoded once: batches of another width would give embeddings that differ in the
        last digit, and ties between identical reports would be broken by chance.
        """
        keys = [tuple(text) for text in texts]
        distinct = sorted(set(keys), key=lambda key: (sum(map(len, key)), key))
        parts = []
        for start in range(0, len(distinct), _BATCH):
            features = self.report_features(distinct[start : start + _BATCH])
            parts.append(functional.normalize(features.global_, dim=-1).cpu())
        position = {key: row for row, key in enumerate(distinct)}
        return torch.cat(parts)[[position[key] for key in keys]]

    @torch.inference_mode()
    def image_features(self, pixels: NDArray[np.uint8], rows: NDArray[np.int64]) -> ImageFeatures:
        """Encode one batch of rows of an image store; float32, on the device."""
        batch = load_images(pixels, rows, str(self._device)).contiguous(memory_format=LAYOUT)
        return self.method.encode_images(batch)

    @torch.inference_mode()
    def report_features(self, texts: Sequence[Sequence[str]]) -> ReportFeatures:
        """Encode one batch of texts, each a list of sentences; float32, on the device."""
        return self.method.encode_reports(self.tokens(texts))

    def tokens(self, texts: Sequence[Sequence[str]]) -> ReportTokens:
        """Tokenise one batch of texts, each a list of sentences; on the device."""
        arrays = encode_texts(self._tokenizer, texts, max_tokens=self._max_tokens)
        tokens = ReportTokens(**{name: torch.from_numpy(array) for name, array in arrays.items()})
        return tokens.to(self._device)
