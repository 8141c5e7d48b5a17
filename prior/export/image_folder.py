"""The image encoder as timm's hub layout: `config.json` and `model.safetensors`."""

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf

from prior.encoders.image import ImageEncoder
from prior.errors import InputError

# What else timm keeps of a model describes its own weights: where they are, their licence, their paper.
KEPT = (
    "architecture",
    "input_size",
    "fixed_input_size",
    "num_classes",
    "pool_size",
    "first_conv",
    "classifier",
)


def write_image_encoder(encoder: ImageEncoder, folder: Path) -> None:
    """Write a folder that `timm.create_model("local-dir:<folder>", pretrained=True)` loads.

    Architecture arguments (output stride or image size, channels) and preprocessing (size, mean, standard
    deviation, no crop) are in `config.json`.

    Raises:
        InputError: timm does not load the same weights from it.
    """
    config = encoder.config
    # Any: timm's networks have attributes that torch's Module does not declare.
    network: Any = encoder.network
    described = network.pretrained_cfg
    network.pretrained_cfg = {name: described[name] for name in KEPT if name in described}
    preprocessing = {
        "input_size": (config.in_channels, config.input_size, config.input_size),
        "mean": (config.mean,) * config.in_channels,
        "std": (config.std,) * config.in_channels,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",
    }
    save_for_hf(network, str(folder), safe_serialization=True, data_config=preprocessing)
    network.pretrained_cfg = described
    _require_equal(encoder, folder)


def _require_equal(encoder: ImageEncoder, folder: Path) -> None:
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).state_dict()
    stored = load_file(folder / "model.safetensors")
    expected = encoder.network.state_dict()
    if loaded.keys() != expected.keys() or not all(
        torch.equal(expected[name], tensor) and torch.equal(tensor, stored[name])
        for name, tensor in loaded.items()
    ):
        raise InputError(
            f"timm {timm.__version__} does not load back the weights of {encoder.config.name}; install the "
            "version that requirements.lock names and export again"
        )
