"""Feature maps of chosen images: read from the cache (frozen) or computed by a trainable encoder."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prior.data.batches import load_images
from prior.encoders.image import ImageEncoder
from prior.training.precision import LAYOUT

if TYPE_CHECKING:
    from prior.tasks.features import Features

Rows = NDArray[np.int64]
Augment = Callable[[Tensor], Tensor]
M = TypeVar("M", bound=nn.Module)


def tune_layout(module: M, device: torch.device) -> M:
    """Move `module` to the device and into the memory layout that its convolutions run fastest in."""
    return module.to(device=device).to(memory_format=LAYOUT)


def freeze_batch_norm(module: nn.Module) -> None:
    """Keep the running statistics of every batch normalisation as they are; weights still learn."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


class CachedMaps(nn.Module):
    """Maps of a frozen encoder, from `Features`; there is nothing to train and nothing to augment.

    Args:
        features: opened cache.
        device: where the maps go.
        first: index of the finest level that is needed.
    """

    def __init__(self, features: "Features", device: torch.device, first: int = 0) -> None:
        super().__init__()
        self._levels = features.levels[first:]
        self._device = device
        self.channels: Sequence[int] = features.channels[first:]
        self.strides: Sequence[int] = features.strides[first:]

    def forward(self, rows: Rows, augment: Augment | None = None) -> list[Tensor]:
        """Return the maps of store rows [B]: float32 [B, C_k, h_k, w_k], finest first."""
        levels = [torch.from_numpy(level[rows].astype(np.float32)) for level in self._levels]
        return [level.to(self._device).contiguous(memory_format=LAYOUT) for level in levels]


class EncodedMaps(nn.Module):
    """Maps computed by an encoder that is fine-tuned, its batch-normalisation statistics frozen.

    Args:
        encoder: the network; it is changed by training.
        pixels: image store [N, H, W] uint8.
        device: where to compute.
        first: index of the finest level that is needed.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        pixels: NDArray[np.uint8],
        device: torch.device,
        first: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = tune_layout(encoder, device)
        self._pixels, self._device, self._first = pixels, device, first
        self.channels: Sequence[int] = encoder.channels[first:]
        self.strides: Sequence[int] = encoder.strides[first:]

    def train(self, mode: bool = True) -> "EncodedMaps":
        """Set the mode of everything but batch normalisation, which stays in evaluation mode."""
        super().train(mode)
        freeze_batch_norm(self.encoder)
        return self

    def forward(self, rows: Rows, augment: Augment | None = None) -> list[Tensor]:
        """Return the maps of store rows [B], of images changed by `augment` if given."""
        images = load_images(self._pixels, rows, str(self._device))
        images = images if augment is None else augment(images)
        maps: list[Tensor] = self.encoder(images.contiguous(memory_format=LAYOUT))
        return maps[self._first :]
