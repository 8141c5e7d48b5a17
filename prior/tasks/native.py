"""What a network itself takes for the whole image: the class token of a ViT, or an attention pool."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prior.data.batches import load_images
from prior.encoders.bundle import Bundle
from prior.encoders.image import ImageEncoder
from prior.tasks.maps import tune_layout
from prior.training.precision import LAYOUT, choose_device

NATIVE = "class token or attention pool"
_BATCH = 64


def native_features(bundle: Bundle, pixels: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Return the native feature of every image of a store, in float32 as the cached features.

    The class token comes after the last norm; an attention pool is that of the pre-training (`image_pool` of
    PRIOR, LoVT and imported pairs), before it is projected.

    Args:
        bundle: encoder.
        pixels: image store [N, H, W].

    Returns:
        [N, D]; None where the encoder has neither, so that the mean of its last map is all there is.
    """
    device = choose_device()
    read = _reader(bundle, device)
    if read is None:
        return None
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(pixels)))
            images = load_images(pixels, rows, str(device)).contiguous(memory_format=LAYOUT)
            parts.append(read(images).cpu().numpy())
    return np.concatenate(parts)


def _reader(bundle: Bundle, device: torch.device) -> Callable[[Tensor], Tensor] | None:
    encoder = tune_layout(bundle.image_encoder(), device)
    # Any: timm's networks have attributes that torch's Module does not declare.
    network: Any = encoder.network
    if getattr(network, "cls_token", None) is not None:
        return lambda images: class_token(encoder, images)
    method = bundle.method()
    pool = getattr(method, "image_pool", None)
    if method is None or not isinstance(pool, nn.Module):
        return None
    whole = tune_layout(method, device)
    return lambda images: pooled_by(pool, lambda: whole.encode_images(images))


def class_token(encoder: ImageEncoder, images: Tensor) -> Tensor:
    """Return the class token [B, D] of images [B, 1, H, W] in [0, 1], after the last norm."""
    config = encoder.config
    normalised = (images - config.mean) / config.std
    network: Any = encoder.network
    tokens: Tensor = network.forward_features(normalised.expand(-1, config.in_channels, -1, -1))
    return tokens[:, 0]


def pooled_by(pool: nn.Module, run: Callable[[], object]) -> Tensor:
    """Return what `pool` gave, [B, D], while `run` ran; of several outputs the first."""
    seen: list[Any] = []
    handle = pool.register_forward_hook(lambda module, given, output: seen.append(output))
    try:
        run()
    finally:
        handle.remove()
    found: Tensor = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    return found
