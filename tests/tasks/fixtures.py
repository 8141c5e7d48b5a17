"""A tiny prepared dataset and a tiny bundle, written by hand."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pycocotools import mask as coco
from safetensors.torch import save_file

from prior.data.files import write_json
from prior.data.schemas import write_table
from prior.encoders.bundle import BundleInfo
from prior.encoders.image import ImageEncoderConfig, build_image_encoder

FINDINGS = ["Effusion", "Nodule", "No_Finding"]


def make_data(
    root: Path, n: int = 120, size: int = 32, seeds: tuple[int, ...] = (0, 1), preset: str = "strict"
) -> Path:
    """Write images with a bright square: Effusion is its presence, Nodule noise with one uncertain label."""
    rng = np.random.default_rng(0)
    ids = [f"i{k:04d}" for k in range(n)]
    present = np.arange(n) % 2 == 0
    pixels = rng.integers(0, 60, (n, size, size)).astype(np.uint8)
    masks = np.zeros((n, size, size), dtype=np.uint8)
    boxes, rles = [], []
    for k in np.flatnonzero(present):
        y, x = rng.integers(2, size - 14, 2)
        pixels[k, y : y + 12, x : x + 12] += 180
        masks[k, y : y + 12, x : x + 12] = 1
        boxes.append((ids[k], "effusion", x, y, x + 12, y + 12))
        rles.append((ids[k], "effusion", coco.encode(np.asfortranarray(masks[k]))["counts"].decode()))
    images = pd.DataFrame({"image_id": ids, "study_id": ids, "patient_id": [f"p{k // 2}" for k in range(n)]})
    images = images.assign(
        study_order=0,
        view="PA",
        sex="F",
        age=50.0,
        site=None,
        height=size,
        width=size,
        row=range(n),
        source=ids,
    )
    nodule = rng.integers(0, 2, n).astype(float)
    nodule[0], nodule[1] = -1.0, np.nan
    labels = pd.DataFrame({"image_id": ids, "Effusion": present.astype(float), "Nodule": nodule})
    write_table(root, "images", images)
    write_table(root, "labels", labels.assign(No_Finding=1 - present))
    write_table(root, "boxes", pd.DataFrame(boxes, columns=["image_id", "label", *_corners()]))
    write_table(root, "masks", pd.DataFrame(rles, columns=["image_id", "label", "rle"]))
    write_table(root, f"splits/{preset}", _splits(ids, seeds))
    np.save(root / f"images_{size}_pad.npy", pixels)
    np.save(root / f"masks_{size}_pad.npy", masks)
    manifest = {"dataset": root.name, "simulated": True, "content_hash": "c", "counts": {"store_rows": n}}
    write_json(root / "manifest.json", manifest)
    return root


def _corners() -> list[str]:
    return ["x_min", "y_min", "x_max", "y_max"]


def _splits(ids: list[str], seeds: tuple[int, ...]) -> pd.DataFrame:
    frames = []
    n = len(ids)
    for seed in seeds:
        split = np.array(["train"] * n, dtype=object)
        split[int(0.6 * n) : int(0.7 * n)] = "validation"
        split[int(0.7 * n) :] = "test"
        rank = np.full(n, np.nan)
        for name in ("train", "validation"):
            where = np.flatnonzero(split == name)
            rank[np.random.default_rng(seed).permutation(where)] = np.arange(len(where)) / len(where)
        frames.append(pd.DataFrame({"image_id": ids, "seed": seed, "split": split, "fold": -1, "rank": rank}))
    return pd.concat(frames, ignore_index=True)


def make_bundle(path: Path, size: int = 32, name: str = "test_resnet") -> Path:
    """Write an untrained encoder as a bundle without text."""
    config = ImageEncoderConfig(name=name, output_stride=32, input_size=size)
    encoder = build_image_encoder(config, seed=0)
    path.mkdir(parents=True)
    weights = path / "image_encoder.safetensors"
    save_file({k: v.contiguous() for k, v in encoder.network.state_dict().items()}, weights)
    info = BundleInfo(
        method="random",
        variant="default",
        settings={},
        image=config,
        text=None,
        pretrain_seed=0,
        files={weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()},
    )
    write_json(path / "bundle.json", info.model_dump(mode="json"))
    torch.manual_seed(0)
    return path
