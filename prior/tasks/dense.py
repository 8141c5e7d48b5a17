"""What segmentation and detection share: where their maps come from, and who learns at which rate."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.protocols import Protocol
from prior.tasks.features import Features
from prior.tasks.maps import CachedMaps, EncodedMaps, Rows
from prior.training.precision import autocast, choose_device, resolve_precision

T = TypeVar("T")


@dataclass(frozen=True)
class DenseSource:
    """Maps of one training: cached ones, or a fresh copy of the encoder.

    Attributes:
        maps: module from store rows to maps.
        size: side of the image store in pixels.
        device: where to compute.
        precision: arithmetic of the forward pass.
    """

    maps: CachedMaps | EncodedMaps
    size: int
    device: torch.device
    precision: Literal["bf16", "fp32"]

    def groups(self, head: nn.Module, rate: float, protocol: Protocol) -> list[dict[str, Any]]:
        """Return AdamW groups: the searched rate is the encoder's if it learns, else the head's."""
        encoder = list(self.maps.parameters())
        if not encoder:
            return [{"params": list(head.parameters()), "lr": rate}]
        return [
            {"params": encoder, "lr": rate},
            {"params": list(head.parameters()), "lr": float(protocol["head_learning_rate"])},
        ]


def dense_source(
    bundle: Bundle, data: PreparedDataset, protocol: Protocol, features: Features | None, finest: int = 0
) -> DenseSource:
    """Open the maps that a protocol trains on.

    Args:
        bundle: encoder.
        data: dataset.
        protocol: knobs.
        features: cached maps, for frozen protocols.
        finest: smallest stride that is needed, in pixels; finer maps are left out.

    Raises:
        InputError: a frozen protocol without cached maps.
    """
    device = choose_device()
    precision = resolve_precision(protocol["precision"], device)
    if protocol["frozen"]:
        if features is None:
            raise InputError(f"a frozen protocol needs the features of {data.name}")
        maps = CachedMaps(features, device, _first(features.strides, finest))
        return DenseSource(maps, features.size, device, precision)
    encoder = bundle.image_encoder()
    size = encoder.config.input_size
    pixels = data.pixels(size, protocol["fit"])
    first = _first(encoder.strides, finest)
    return DenseSource(EncodedMaps(encoder, pixels, device, first), size, device, precision)


def _first(strides: list[int], finest: int) -> int:
    return next((k for k, stride in enumerate(strides) if stride >= finest), len(strides) - 1)


def in_batches(
    rows: Rows, size: int, precision: Literal["bf16", "fp32"], device: torch.device, call: Callable[[Rows], T]
) -> Iterator[T]:
    """Yield `call` of consecutive batches of store rows, without gradients."""
    for start in range(0, len(rows), size):
        with torch.inference_mode(), autocast(precision, device):
            yield call(rows[start : start + size])


def to_tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """Return `values` as float32 on `device`."""
    return torch.from_numpy(values.astype(np.float32)).to(device)
