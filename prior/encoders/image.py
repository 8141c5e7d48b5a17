"""Image encoder: the feature maps of any timm network, with timm's own weight names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from prior.encoders.weights import HUB, check_weights
from prior.errors import InputError


class ImageEncoderConfig(BaseModel):
    """Everything that is needed to rebuild an image encoder.

    Attributes:
        name: timm model name.
        output_stride: pixels per cell of the last map; dilation replaces strides where the model can.
        in_channels: channels the network expects; 3 repeats the grey image.
        input_size: side of the (square) input in pixels.
        mean: grey-value mean subtracted inside the encoder, images being in [0, 1].
        std: grey-value standard deviation.
        pretrained: .safetensors or .pth file with timm's weight names (its own or ImageNet's) to start from,
            or `hub`, which lets timm download its own; the first convolution is adapted to `in_channels`.
            Read by `build_image_encoder` only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "resnet18"
    output_stride: int = Field(default=16, gt=0)
    in_channels: int = Field(default=1, ge=1)
    input_size: int = Field(default=96, gt=0)
    mean: float = 0.4755
    std: float = Field(default=0.3011, gt=0)
    pretrained: str | None = None


class ImageEncoder(nn.Module):
    """Feature maps of a timm network at stride 4 and coarser.

    Attributes:
        config: how it was built.
        network: the timm model without its classifier; its state dict has timm's names.
        channels: channels of each returned map.
        strides: pixels per cell of each returned map.

    Args:
        config: architecture.
        weights: timm's `create_model` arguments that say where to start; random weights by default.
    """

    def __init__(self, config: ImageEncoderConfig, weights: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config = config
        # Any: timm's networks have methods that torch's Module does not declare.
        network: Any = _create(config, weights)
        self.network = network
        every: list[dict[str, Any]] = list(network.feature_info)
        reductions = [int(i["reduction"]) for i in every]
        self._indices = _map_indices(reductions)
        # The blocks of a ViT leave the scale of their sum to the norm that follows the last.
        self._norm = len(set(reductions)) == 1
        info = [every[i] for i in self._indices]
        self.channels: list[int] = [int(i["num_chs"]) for i in info]
        self.strides: list[int] = [int(i["reduction"]) for i in info]
        if self.strides[-1] != config.output_stride:
            raise InputError(
                f"image_encoder.output_stride is {config.output_stride}, but {config.name} ends at stride "
                f"{self.strides[-1]}; set output_stride to {self.strides[-1]} or choose another model"
            )

    @property
    def last_channels(self) -> int:
        """Channels of the last map, which is also the width of `pooled`."""
        return self.channels[-1]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images [B, 1, H, W] in [0, 1], finest first: [B, C_k, H / s_k, W / s_k]."""
        normalised = (images - self.config.mean) / self.config.std
        if self.config.in_channels > 1:
            normalised = normalised.expand(-1, self.config.in_channels, -1, -1)
        maps: list[Tensor] = self.network.forward_intermediates(
            normalised, indices=self._indices, norm=self._norm, intermediates_only=True
        )
        return maps

    def pooled(self, images: Tensor) -> Tensor:
        """Return the spatial mean of the last map, [B, last_channels]."""
        maps: list[Tensor] = self(images)
        return maps[-1].mean(dim=(2, 3))


def _create(config: ImageEncoderConfig, weights: Mapping[str, Any] | None) -> nn.Module:
    if not timm.is_model(config.name):
        raise InputError(
            f"image_encoder.name is {config.name!r}, which timm does not know; see timm.list_models()"
        )
    arguments: dict[str, Any] = {"in_chans": config.in_channels, "num_classes": 0}
    pretrained_cfg = timm.get_pretrained_cfg(config.name)
    if pretrained_cfg is not None and pretrained_cfg.fixed_input_size:
        arguments["img_size"] = config.input_size
    elif config.output_stride != 32:
        arguments["output_stride"] = config.output_stride
    try:
        network: nn.Module = timm.create_model(config.name, **arguments, **(weights or {}))
    except (TypeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"image_encoder.name {config.name!r} cannot be built with {arguments}: {error}; "
            "change image_encoder.output_stride or choose another model"
        ) from error
    if not hasattr(network, "forward_intermediates"):
        raise InputError(
            f"image_encoder.name {config.name!r} gives no feature maps; choose another timm model"
        )
    return network


def _map_indices(reductions: Sequence[int]) -> list[int]:
    """Choose maps: stride 4 and coarser, or four evenly spaced blocks where all have one stride (ViT)."""
    if len(set(reductions)) == 1:
        depth = len(reductions)
        return [depth * k // 4 - 1 for k in range(1, 5)] if depth >= 4 else list(range(depth))
    return [i for i, reduction in enumerate(reductions) if reduction >= 4]


def build_image_encoder(config: ImageEncoderConfig, seed: int) -> ImageEncoder:
    """Build an encoder whose initial weights depend on `config` and `seed` only, not on what ran before.

    Raises:
        InputError: the model cannot be built, or `config.pretrained` cannot be read or does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.pretrained is None:
            return ImageEncoder(config)
        start: dict[str, Any] = {"pretrained": True}
        if config.pretrained != HUB:
            state = _read_weights(Path(config.pretrained), ImageEncoder(config).network)
            start["pretrained_cfg_overlay"] = {"state_dict": state}
        try:
            return ImageEncoder(config, start)
        except (RuntimeError, OSError) as error:
            raise InputError(
                f"image_encoder.pretrained: {config.pretrained} does not fit {config.name}: {error}"
            ) from None


def _read_weights(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """Read weights whose names must be the network's; a classifier is left out."""
    check_weights(path, "image_encoder.pretrained")
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Tensor] = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError) as error:
        raise InputError(f"image_encoder.pretrained: {path} cannot be read: {error}") from None
    # Any: timm's networks have attributes that torch's Module does not declare.
    known: Any = network
    classifiers = known.default_cfg["classifier"]
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    state = {name: value for name, value in state.items() if name.rpartition(".")[0] not in classifiers}
    wrong = sorted(state.keys() ^ network.state_dict().keys())
    if wrong:
        raise InputError(
            f"image_encoder.pretrained: {path} and {known.default_cfg['architecture']} differ in "
            f"{len(wrong)} weights, {', '.join(wrong[:3])} among them; give weights with timm's names"
        )
    return state
