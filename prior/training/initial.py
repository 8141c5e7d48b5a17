"""Untrained methods: equal seeds give equal encoders, whatever the method adds to them."""

import hashlib
from importlib import import_module
from pathlib import Path

import torch
from pydantic import ValidationError

from prior.data.files import read_json
from prior.encoders.bundle import BundleInfo
from prior.encoders.image import ImageEncoderConfig, build_image_encoder
from prior.encoders.text import TextEncoderConfig, build_text_encoder, resolve_text_config
from prior.encoders.weights import HUB
from prior.errors import InputError
from prior.methods import METHODS, settings_with_variant
from prior.methods.base import Method
from prior.training.settings import PretrainSettings


def prepare_method(chosen: PretrainSettings, tokens_root: Path) -> tuple[Method, BundleInfo]:
    """Build the untrained method, and the part of its description that needs no data.

    Methods with the same seed and encoder settings start from the same image and text encoder weights,
    whatever else they hold.

    Raises:
        InputError: the method, its variant or one of its settings is unknown, or weights to start from are
            not there.
    """
    if chosen.method not in METHODS:
        raise InputError(f"unknown method {chosen.method!r}; choose one of {', '.join(sorted(METHODS))}")
    if chosen.method == "imagenet" and not chosen.settings.get("weights"):
        raise InputError(f"settings of method imagenet: weights: null; give a file, or `{HUB}`")
    settings = settings_with_variant(chosen.method, chosen.variant, chosen.settings)
    image, text = _encoder_configs(chosen, tokens_root)
    torch.manual_seed(derive_seed(chosen.seed, "method"))
    method: Method = import_module(METHODS[chosen.method]).build(settings, image, text)
    image = image.model_copy(update={"pretrained": method.weights or image.pretrained})
    initial = build_image_encoder(image, derive_seed(chosen.seed, "image encoder"))
    method.image_encoder.load_state_dict(initial.state_dict())
    text_encoder = getattr(method, "text_encoder", None)
    if text_encoder is not None:
        initial_text = build_text_encoder(text, derive_seed(chosen.seed, "text encoder"))
        text_encoder.load_state_dict(initial_text.state_dict())
    info = BundleInfo(
        method=chosen.method,
        variant=chosen.variant,
        # A path means nothing elsewhere; the hash of the file is among the data.
        settings={name: value for name, value in settings.items() if name != "weights"},
        image=image.model_copy(update={"pretrained": None}),
        text=None if text_encoder is None else text.model_copy(update={"pretrained": None}),
        pretrain_seed=chosen.seed,
        data=_initial_weights(image),
    )
    return method, info


def _encoder_configs(
    chosen: PretrainSettings, tokens_root: Path
) -> tuple[ImageEncoderConfig, TextEncoderConfig]:
    manifest = read_json(tokens_root / "manifest.json")
    sizes = {"vocab_size": manifest["vocab_size"], "max_tokens": manifest["max_tokens"]}
    try:
        image = ImageEncoderConfig(input_size=chosen.image.size, **chosen.image_encoder)
        text = TextEncoderConfig(**sizes, **chosen.text_encoder)
    except (ValidationError, TypeError) as error:
        raise InputError(f"pretraining.image_encoder or pretraining.text_encoder: {error}") from None
    return image, resolve_text_config(text)


def derive_seed(seed: int, purpose: str) -> int:
    """Return a seed of 32 bits for one purpose, so that no purpose shares its random numbers."""
    return int(hashlib.sha256(f"{purpose}:{seed}".encode()).hexdigest()[:8], 16)


def _initial_weights(image: ImageEncoderConfig) -> dict[str, str]:
    if image.pretrained is None:
        return {}
    if image.pretrained == HUB:
        return {"image_encoder": f"timm's {image.name}"}
    with Path(image.pretrained).open("rb") as file:
        return {"image_encoder": hashlib.file_digest(file, "sha256").hexdigest()}
