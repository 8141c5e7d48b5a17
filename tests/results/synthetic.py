"""Prediction files as evaluations leave them, made from random numbers: no images, no training."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from prior.data.files import write_json

QUALITY = {"random": 0.3, "convirt": 1.0, "prior": 1.3}
VARIANTS = {"random": "default", "convirt": "default", "prior": "described"}
FINDINGS = ["Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural_Effusion"]
PATIENTS = 60


def _images(generator: np.random.Generator, dataset: str, n: int) -> pd.DataFrame:
    patients = generator.integers(PATIENTS, size=n)
    ids = [f"{dataset}-{k:04d}" for k in range(n)]
    return pd.DataFrame({"image_id": ids, "patient_id": [f"{dataset}:{p}" for p in patients]})


def _gain(fraction: float | None) -> float:
    return 1.0 if fraction is None else 0.7 + 0.25 * (2 + np.log10(fraction))


def _long(images: pd.DataFrame, names: list[str], truth: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    repeated = images.loc[images.index.repeat(len(names))].reset_index(drop=True)
    return repeated.assign(
        finding=names * len(images), score=scores.ravel(), label=truth.ravel().astype(float)
    )


def findings(strength: float, seed: int, n: int = 100) -> pd.DataFrame:
    world = np.random.default_rng(1)
    images = _images(world, "chexpert", n)
    truth = world.random((n, len(FINDINGS))) < 0.3
    shared = world.normal(size=truth.shape)
    noise = np.random.default_rng(seed).normal(size=truth.shape)
    logits = strength * 1.5 * (truth - 0.5) + shared + 0.3 * noise
    return _long(images, FINDINGS, truth, 1 / (1 + np.exp(-logits)))


def prompts(strength: float, seed: int) -> pd.DataFrame:
    world = np.random.default_rng(2)
    images = _images(world, "chexpert-subset", 100)
    truth = np.eye(5, dtype=bool)[np.arange(100) % 5]
    scores = strength * truth + world.normal(size=truth.shape)
    names = [f"5x200:{name}" for name in FINDINGS]
    return pd.concat([findings(strength, seed), _long(images, names, truth, scores)], ignore_index=True)


def retrieval(strength: float, seed: int, n: int = 120) -> pd.DataFrame:
    world = np.random.default_rng(3)
    images = _images(world, "mimic_cxr", n)
    parts = []
    for direction in ("image_to_text", "text_to_image"):
        rank = np.ceil(n * world.random(n) ** (1 + strength)).clip(1)
        hits = {f"hits_{k}": np.round((0.2 + 0.2 * strength * world.random(n)) * k) / k for k in (1, 5, 10)}
        parts.append(images.assign(direction=direction, rank=rank, pool=n, n_relevant=n // 5, **hits))
    return pd.concat(parts, ignore_index=True)


def segmentation(strength: float, seed: int, n: int = 120) -> pd.DataFrame:
    world, generator = np.random.default_rng(4), np.random.default_rng(seed)
    mask = np.where(world.random(n) < 0.3, world.integers(50, 600, n), 0)
    found = (mask * (0.25 * strength + 0.2 * world.random(n) + 0.05 * generator.random(n)).clip(0, 1)).astype(
        int
    )
    false = np.where(world.random(n) < 0.4, world.integers(0, 250, n), 0)
    return _images(world, "siim", n).assign(tp=found, fp=false, fn=mask - found, n_mask=mask)


def detection(strength: float, seed: int, n: int = 50) -> pd.DataFrame:
    world, generator = np.random.default_rng(5), np.random.default_rng(seed)
    images = _images(world, "rsna", n)
    corners = ["x_min", "y_min", "x_max", "y_max"]
    parts = [images.assign(kind="image")]
    for row in images.itertuples():
        low = world.uniform(5, 50, (world.integers(0, 3), 2))
        truth = np.hstack([low, low + world.uniform(15, 35, low.shape)])
        moved = truth + generator.normal(0, 6 / (0.5 + strength), truth.shape)
        low = generator.uniform(0, 60, (3, 2))
        boxes = np.vstack([moved, np.hstack([low, low + generator.uniform(10, 30, low.shape)])])
        score = np.concatenate([generator.normal(strength, 1, len(moved)), generator.normal(0, 1, 3)])
        base = {"image_id": row.image_id, "patient_id": row.patient_id}
        parts.append(pd.DataFrame(truth, columns=corners).assign(kind="truth", **base))
        parts.append(pd.DataFrame(boxes, columns=corners).assign(kind="prediction", score=score, **base))
    return pd.concat(parts, ignore_index=True)


SIZE = 96
TASKS = {
    "classification": ("chexpert", "linear", findings),
    "zero_shot": ("chexpert", "prompts", prompts),
    "retrieval": ("mimic_cxr", "pairs", retrieval),
    "segmentation": ("siim", "frozen", segmentation),
    "detection": ("rsna", "frozen", detection),
}


def write_predictions(
    root: Path,
    task: str,
    method: str,
    fractions: Iterable[float | None],
    seeds: Iterable[int],
    setting: str = "",
) -> Path:
    """Write one prediction file and return its stem."""
    dataset, default_setting, make = TASKS[task]
    setting = setting or default_setting
    stem = (
        root / "predictions" / task / dataset / f"strict_small-{setting}" / f"{method}-{VARIANTS[method]}-s0"
    )
    bonus = 0.15 if setting == "finetune" else 0.0
    frames, cells = [], []
    for fraction in fractions:
        for seed in seeds:
            cell = {"fraction": fraction, "seed": seed, "fold": None, "n_train": int(1000 * (fraction or 0))}
            cells.append(cell)
            if fraction is not None and cell["n_train"] < 16:
                cell["omitted"] = f"{cell['n_train']} training images, fewer than 16"
                continue
            if task == "segmentation":
                cell["selected"] = {"learning_rate": 0.001, "at_grid_edge": True, "head_params": 1234}
            frame = make(QUALITY[method] * _gain(fraction) + bonus, 100 * seed + len(method))
            frames.append(frame.assign(fraction=np.nan if fraction is None else fraction, seed=seed, fold=-1))
    stem.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(frames, ignore_index=True).to_parquet(f"{stem}.parquet", index=False)
    bundle = {
        "method": method,
        "variant": VARIANTS[method],
        "pretrain_seed": 0,
        "pretraining_data": "" if method == "random" else "mimic_cxr",
        "n_pretrain_pairs": 0 if method == "random" else 2000,
        "samples_seen": 0 if method == "random" else 12000,
        "image": {"input_size": SIZE},
    }
    place = {"task": task, "dataset": dataset, "protocol": "strict_small", "setting": setting}
    knobs = {"split": "strict", "head": {"segmentation": "unet", "detection": "fcos"}.get(task, "")}
    info = {
        **place,
        **knobs,
        "frozen": setting != "finetune",
        "simulated": True,
        "knobs": {"fit": "pad"},
        "cells": cells,
        "bundle": bundle,
    }
    write_json(Path(f"{stem}.json"), info)
    write_json(
        Path(f"{stem}.run.json"),
        {"seconds": 12.5, "code": {"commit": "abc", "dirty": False}, "hardware": {"cpu": "2 cores"}},
    )
    return stem


def write_pixels(prepared: Path, ids: Iterable[str]) -> None:
    """Write what pictures need of a prepared data set: the last image is in the first row of the store."""
    names = list(ids)
    prepared.mkdir(parents=True, exist_ok=True)
    rows = range(len(names))[::-1]
    pd.DataFrame({"image_id": names, "row": rows}).to_parquet(prepared / "images.parquet")
    store = np.zeros((len(names), SIZE, SIZE), np.uint8)
    store[list(rows)] = (np.arange(len(names)) % 256)[:, None, None]
    np.save(prepared / f"images_{SIZE}_pad.npy", store)


def write_all(
    root: Path,
    seeds: Iterable[int] = (0, 1, 2),
    fractions: Iterable[float] = (0.01, 0.1, 1.0),
    finetuned: Iterable[str] = ("classification", "segmentation", "detection"),
) -> list[Path]:
    """Write a small benchmark: five tasks, three methods, fine-tuning at 10 %."""
    stems = []
    for method in QUALITY:
        for task in TASKS:
            labelled = task not in ("zero_shot", "retrieval")
            if not labelled and method == "random":
                continue
            shares = fractions if labelled else (None,)
            stems.append(write_predictions(root, task, method, shares, seeds if labelled else (0,)))
            if task in finetuned:
                stems.append(write_predictions(root, task, method, (0.1,), seeds, setting="finetune"))
    return stems


def write_training_log(root: Path, method: str, losses: list[str]) -> Path:
    """Write a `training.csv` with three stages."""
    generator = np.random.default_rng(0)
    steps = np.arange(180)
    frame = pd.DataFrame(
        {"stage": np.repeat(["global", "local", "joint"], 60), "epoch": steps // 30, "step": steps}
    )
    for k, loss in enumerate(losses):
        value = (k + 1) * np.exp(-steps / 80) + 0.1 * generator.random(180)
        frame[loss] = np.where((steps >= 60) | (k < 2), value, np.nan)
    path = root / "models" / f"{method}-{VARIANTS[method]}-s0" / "training.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return path


def refuse(stem: Path) -> None:
    """Rewrite a prediction file as an evaluation leaves it that refused all its cells."""
    info = json.loads(Path(f"{stem}.json").read_text())
    cells = [{**cell, "omitted": "15 training images, fewer than 16"} for cell in info["cells"]]
    write_json(Path(f"{stem}.json"), {**info, "cells": cells})
    columns = ["fraction", "seed", "fold", "image_id", "patient_id"]
    pd.DataFrame({name: [] for name in columns}, dtype=object).to_parquet(f"{stem}.parquet", index=False)
