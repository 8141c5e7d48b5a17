"""Frozen feature maps of a whole dataset: computed once per bundle, by the first evaluation that reads them.

They lie in a cache that no rule declares: what is missing, stale or lacks maps is computed again.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from prior.data.batches import load_images
from prior.data.files import atomic_path, read_json, write_json
from prior.data.prepared import PreparedDataset
from prior.digest import code_digest
from prior.encoders.bundle import Bundle
from prior.tasks.maps import tune_layout
from prior.training.precision import choose_device


@dataclass(frozen=True)
class Features:
    """Features of all N images of a dataset in the order of the image store, memory-mapped.

    Attributes:
        pooled: [N, C] float32, spatial mean of the last map.
        levels: [N, C_k, h_k, w_k] float16 per map, finest first; empty if only pooled features were kept.
        channels: channels of each level.
        strides: pixels per cell of each level.
        size: side of the encoder's input in pixels.
    """

    pooled: NDArray[np.float32]
    levels: list[NDArray[np.floating]]
    channels: list[int]
    strides: list[int]
    size: int


def cached_features(cache: Path, bundle: Bundle, data: PreparedDataset, levels: bool, fit: str) -> Features:
    """Open the features of `bundle` on `data`, after computing them if the cache has none that fit.

    Two processes that want the same features do not both compute them: the second waits for the first.

    Args:
        cache: folder of the features of all bundles and datasets.
        bundle: encoder.
        data: dataset.
        levels: also open every map, which segmentation and detection need.
        fit: image store to read, `pad` or `stretch`.
    """
    folder = cache / bundle.name / f"{data.name}-{fit}"
    folder.mkdir(parents=True, exist_ok=True)
    identity = {
        "weights": bundle.info.files,
        "image": bundle.info.image.model_dump(mode="json"),
        "content_hash": data.manifest["content_hash"],
        "code": code_digest("prior.tasks.features"),
    }
    path = folder / "manifest.json"
    with FileLock(folder / "lock"):
        manifest = read_json(path) if path.exists() else {}
        if manifest.get("identity") != identity or (levels and not manifest["levels"]):
            # Until all is written there is no manifest, so that a kill leaves nothing that looks finished.
            path.unlink(missing_ok=True)
            manifest = {
                "identity": identity,
                "levels": levels,
                **extract_features(bundle, data, folder, levels, fit),
            }
            write_json(path, manifest)
        count = len(manifest["channels"]) if levels else 0
        return Features(
            pooled=np.load(folder / "pooled.npy", mmap_mode="r"),
            levels=[np.load(folder / f"level_{k}.npy", mmap_mode="r") for k in range(count)],
            channels=manifest["channels"],
            strides=manifest["strides"],
            size=bundle.info.image.input_size,
        )


def extract_features(
    bundle: Bundle,
    data: PreparedDataset,
    folder: Path,
    levels: bool,
    fit: str,
    batch: int = 64,
) -> dict[str, list[int]]:
    """Run the frozen image encoder once over a dataset; write `pooled.npy` and `level_<k>.npy` to `folder`.

    The pass is in float32 on every machine: where an encoder tells images apart by little, as an untrained
    one does, bfloat16 would round the difference away, and machines without it would find other features.

    Args:
        bundle: encoder.
        data: dataset.
        folder: where to write.
        levels: also keep every map.
        fit: image store to read, `pad` or `stretch`.
        batch: images per forward pass.

    Returns:
        `channels` and `strides` of the maps, finest first.
    """
    device = choose_device()
    encoder = tune_layout(bundle.image_encoder(), device)
    pixels = data.pixels(encoder.config.input_size, fit)
    with ExitStack() as stack, torch.inference_mode():
        stores: dict[str, NDArray[Any]] = {}
        for start in range(0, len(pixels), batch):
            rows = np.arange(start, min(start + batch, len(pixels)))
            found = _arrays(encoder(load_images(pixels, rows, str(device))), levels)
            if not stores:
                stores = _open(stack, folder, found, len(pixels))
            for name, values in found.items():
                stores[name][start : start + batch] = values
        for store in stores.values():
            store.flush()  # type: ignore[attr-defined]
    return {"channels": list(encoder.channels), "strides": list(encoder.strides)}


def _arrays(maps: list[Tensor], levels: bool) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {"pooled": maps[-1].mean(dim=(2, 3)).cpu().numpy()}
    if levels:
        # Clamped to float16's range: an overflow would become inf and poison every loss.
        halves = [level.clamp(-65504, 65504).half().cpu().numpy() for level in maps]
        found |= {f"level_{k}": half for k, half in enumerate(halves)}
    return found


def _open(stack: ExitStack, folder: Path, first: dict[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
    stores: dict[str, NDArray[Any]] = {}
    for name, values in first.items():
        path = stack.enter_context(atomic_path(folder / f"{name}.npy"))
        stores[name] = np.lib.format.open_memmap(
            path, mode="w+", dtype=values.dtype, shape=(n, *values.shape[1:])
        )
    return stores
