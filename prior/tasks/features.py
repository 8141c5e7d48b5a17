"""Frozen feature maps of a whole dataset, computed once per bundle and read by every frozen protocol."""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prior.data.batches import load_images
from prior.data.files import atomic_path, digest, read_json, write_json
from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle, load_bundle
from prior.encoders.image import ImageEncoder
from prior.errors import InputError
from prior.tasks.maps import tune_layout
from prior.training.precision import Precision, autocast, choose_device, resolve_precision


@dataclass(frozen=True)
class Features:
    """Features of all N images of a dataset in the order of the image store, memory-mapped.

    Attributes:
        pooled: [N, C] float32, spatial mean of the last map.
        levels: [N, C_k, h_k, w_k] float16 per map, finest first; empty if only pooled features were kept.
        channels: channels of each level.
        strides: pixels per cell of each level.
        size: side of the encoder's input in pixels.
        fit: how the originals were fitted into the store.
        digest: identifies weights, data and numbers.
    """

    pooled: NDArray[np.float32]
    levels: list[NDArray[np.float16]]
    channels: list[int]
    strides: list[int]
    size: int
    fit: str
    digest: str


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def extract_features(
    bundle_path: Path,
    data_root: Path,
    out_dir: Path,
    batch: int = 64,
    levels: bool = True,
    fit: str = "pad",
    precision: Precision = "auto",
) -> None:
    """Write `pooled.npy`, `level_<k>.npy` and `manifest.json` of one bundle on one dataset.

    Args:
        bundle_path: folder of the bundle.
        data_root: folder of the prepared dataset.
        out_dir: folder to write.
        batch: images per forward pass.
        levels: also keep every map, which segmentation and detection need.
        fit: image store to read, `pad` or `stretch`.
        precision: arithmetic of the forward pass; the stored numbers are float32 and float16.
    """
    data = PreparedDataset(data_root)
    device = choose_device()
    resolved = resolve_precision(precision, device)
    bundle = load_bundle(bundle_path)
    encoder = tune_layout(bundle.image_encoder(), device)
    pixels = data.pixels(encoder.config.input_size, fit)
    with ExitStack() as stack, torch.inference_mode(), autocast(resolved, device):
        stores: dict[str, NDArray[Any]] = {}
        for start in range(0, len(pixels), batch):
            rows = np.arange(start, min(start + batch, len(pixels)))
            found = _arrays(encoder(load_images(pixels, rows, str(device))), levels)
            if not stores:
                stores = _open(stack, out_dir, found, len(pixels))
            for name, values in found.items():
                stores[name][start : start + batch] = values
        for store in stores.values():
            store.flush()  # type: ignore[attr-defined]
    _write_manifest(out_dir, bundle, data, encoder, fit, sorted(stores))


def _arrays(maps: list[Tensor], levels: bool) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {"pooled": maps[-1].float().mean(dim=(2, 3)).cpu().numpy()}
    if levels:
        # Clamped to float16's range: an overflow would become inf and poison every loss.
        halves = [level.float().clamp(-65504, 65504).half().cpu().numpy() for level in maps]
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


def _write_manifest(
    out_dir: Path, bundle: Bundle, data: PreparedDataset, encoder: ImageEncoder, fit: str, names: list[str]
) -> None:
    manifest = {
        "bundle": bundle.name,
        "weights": bundle.info.files,
        "dataset": data.name,
        "content_hash": data.manifest["content_hash"],
        "size": encoder.config.input_size,
        "fit": fit,
        "channels": encoder.channels,
        "strides": encoder.strides,
        "files": {f"{name}.npy": file_hash(out_dir / f"{name}.npy") for name in names},
    }
    write_json(out_dir / "manifest.json", manifest)


def load_features(folder: Path | None, bundle: Bundle, data: PreparedDataset, levels: bool) -> Features:
    """Open the features of `bundle` on `data`.

    Raises:
        InputError: there are none, they belong to another bundle or other data, or the maps are missing.
    """
    remedy = "run `prior features` again"
    if folder is None or not (folder / "manifest.json").exists():
        raise InputError(f"a frozen protocol needs the features of {data.name} ({folder}); {remedy}")
    manifest = read_json(folder / "manifest.json")
    if manifest["weights"] != bundle.info.files:
        raise InputError(f"{folder}/manifest.json: made from other weights than {bundle.path}; {remedy}")
    if manifest["content_hash"] != data.manifest["content_hash"]:
        raise InputError(f"{folder}/manifest.json: made from other data than {data.name}; {remedy}")
    count = len(manifest["channels"]) if levels else 0
    if f"level_{count - 1}.npy" not in manifest["files"] and levels:
        raise InputError(f"{folder}/manifest.json: only pooled features were kept; {remedy} with levels")
    return Features(
        pooled=np.load(folder / "pooled.npy", mmap_mode="r"),
        levels=[np.load(folder / f"level_{k}.npy", mmap_mode="r") for k in range(count)],
        channels=manifest["channels"],
        strides=manifest["strides"],
        size=manifest["size"],
        fit=manifest["fit"],
        digest=digest(manifest["files"]),
    )
