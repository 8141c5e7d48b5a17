"""What all trained heads share: where their maps come from, who learns at which rate, and their knobs."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from prior.data.augment import Augmentation
from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.protocols import Protocol
from prior.tasks import base
from prior.tasks.features import Features
from prior.tasks.maps import CachedMaps, EncodedMaps, Rows, tune_last_stages
from prior.tasks.optimise import OPTIMISERS, SCHEDULES
from prior.training.precision import autocast, choose_device, resolve_precision

T = TypeVar("T")

BATCH_NORM = {"frozen statistics": True, "batch statistics": False}
# Values that the tasks with trained heads implement, where a knob names one of a few.
CHOICES: dict[str, Collection[Any]] = {
    **base.CHOICES,
    "uses_labels": [True],
    "selection_seed": ["first"],
    "precision": ["auto", "bf16", "fp32"],
    "optimiser": OPTIMISERS,
    "schedule": SCHEDULES,
    "batch_norm": BATCH_NORM,
}
# Knobs whose numbers, lists and names they read.
READ = frozenset(
    {
        *base.READ,
        *base.LABELLED,
        *(
            "weight_decay",
            "momentum",
            "warmup",
            "plateau",
            "step_decay",
            "steps",
            "checks",
            "epochs",
            "patience",
            "batch",
        ),
        *("positive_share", "evaluation_batch", "learning_rates", "head_learning_rate", "head_first"),
        *("tuned_stages", "augmentation"),
    }
)
STRENGTHS = {"crop", "rotation", "brightness", "contrast"}


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
        """Return groups for an optimiser: the searched rate is the encoder's if it learns, else the head's.

        `head_learning_rate: searched` gives the head the same; `head_first` first trains the head alone.
        """
        encoder = [parameter for parameter in self.maps.parameters() if parameter.requires_grad]
        if not encoder:
            return [{"params": list(head.parameters()), "lr": rate}]
        own = protocol["head_learning_rate"]
        groups = [
            {"params": encoder, "lr": rate},
            {"params": list(head.parameters()), "lr": rate if own == "searched" else float(own)},
        ]
        first = protocol["head_first"]
        if first is not None:
            # At a rate of 0 the optimiser leaves the encoder where it is.
            groups[0]["held"] = (int(first["steps"]), 0.0)
            groups[1]["held"] = (int(first["steps"]), float(first["learning_rate"]))
        return groups


def dense_source(
    bundle: Bundle, data: PreparedDataset, protocol: Protocol, features: Features | None, finest: int = 0
) -> DenseSource:
    """Open the maps that a protocol trains on.

    Args:
        bundle: encoder.
        data: dataset.
        protocol: knobs.
        features: cached maps, for frozen protocols without augmentation.
        finest: smallest stride that is needed, in pixels; finer maps are left out.

    Raises:
        InputError: such a protocol without cached maps, or more `tuned_stages` than the encoder has.
    """
    device = choose_device()
    precision = resolve_precision(protocol["precision"], device)
    if protocol["frozen"] and not protocol["augmentation"]:
        if features is None:
            raise InputError(f"a frozen protocol needs the features of {data.name}")
        cached = CachedMaps(features, device, _first(features.strides, finest))
        return DenseSource(cached, features.size, device, precision)
    encoder = bundle.image_encoder()
    if protocol["frozen"]:
        encoder.requires_grad_(False)
    else:
        tune_last_stages(encoder, protocol["tuned_stages"])
    size = encoder.config.input_size
    pixels = data.pixels(size, protocol["fit"])
    first = _first(encoder.strides, finest)
    maps = EncodedMaps(encoder, pixels, device, first, BATCH_NORM[protocol["batch_norm"]])
    return DenseSource(maps, size, device, precision)


def augmentation(protocol: Protocol) -> Augmentation | None:
    """Return how strongly training images are changed, None if they are not.

    Raises:
        InputError: the knob does not state all strengths.
    """
    knob = protocol["augmentation"]
    if not knob:
        return None
    if set(knob) != STRENGTHS:
        raise InputError(
            f"prior/protocols/{protocol.family}.yaml: `augmentation` of {protocol.task} {protocol.setting} "
            f"must state {', '.join(sorted(STRENGTHS))}, or nothing"
        )
    return Augmentation(**{**knob, "crop": tuple(knob["crop"])})


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
