"""Feature maps of chosen images: read from the cache (frozen) or computed by a trainable encoder."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prior.data.batches import load_images
from prior.encoders.image import ImageEncoder
from prior.errors import InputError
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


def tune_last_stages(encoder: ImageEncoder, stages: int | str) -> None:
    """Let only what comes after the map before the last `stages` maps learn; `all` changes nothing.

    A stage is what lies between two of the encoder's maps: a stage of a ResNet, a quarter of a ViT's blocks.

    Raises:
        InputError: the encoder has no map before them.
    """
    if stages == "all":
        return
    if not 0 < int(stages) < len(encoder.channels):
        raise InputError(
            f"`tuned_stages: {stages}` does not fit {encoder.config.name}, which has {len(encoder.channels)} "
            "maps; choose a smaller number, or `all`"
        )
    # Any: timm's networks have attributes that torch's Module does not declare.
    network: Any = encoder.network
    module = network.feature_info[encoder._indices[-int(stages) - 1]]["module"]
    # Parameters are registered in the order in which an image meets them.
    names = [name for name, _ in network.named_parameters()]
    last = max(k for k, name in enumerate(names) if name.startswith(f"{module}."))
    for k, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(k > last)


class EncodedMaps(nn.Module):
    """Maps computed by an encoder that is fine-tuned, or kept as it is and shown augmented images.

    Args:
        encoder: the network; what requires gradients is changed by training.
        pixels: image store [N, H, W] uint8.
        device: where to compute.
        first: index of the finest level that is needed.
        frozen_statistics: whether batch normalisation keeps its running statistics.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        pixels: NDArray[np.uint8],
        device: torch.device,
        first: int = 0,
        frozen_statistics: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = tune_layout(encoder, device)
        self._frozen_statistics = frozen_statistics
        self._pixels, self._device, self._first = pixels, device, first
        self.channels: Sequence[int] = encoder.channels[first:]
        self.strides: Sequence[int] = encoder.strides[first:]

    def train(self, mode: bool = True) -> "EncodedMaps":
        """Set the mode; what does not learn stays in evaluation mode, batch normalisation as it was asked."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.encoder.parameters()):
            self.encoder.eval()
        elif self._frozen_statistics:
            freeze_batch_norm(self.encoder)
        return self

    def forward(self, rows: Rows, augment: Augment | None = None) -> list[Tensor]:
        """Return the maps of store rows [B], of images changed by `augment` if given."""
        images = load_images(self._pixels, rows, str(self._device))
        images = images if augment is None else augment(images)
        maps: list[Tensor] = self.encoder(images.contiguous(memory_format=LAYOUT))
        return maps[self._first :]
