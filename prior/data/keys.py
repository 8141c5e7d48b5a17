"""Patient keys, their hashes, and which part of a prepared split a job takes."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prior.errors import InputError

FOLDS = 5


def bucket(key: str) -> int:
    """Return the percentile 0..99 that the hash of a patient key falls into."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 100


def split_of(bucket_: int) -> str:
    """Return the split of a percentile: test below 20, validation below 30, else train."""
    return "test" if bucket_ < 20 else "validation" if bucket_ < 30 else "train"


def fold_of(bucket_: int) -> int:
    """Return the fold of a percentile; fold 0 is the test split of `strict`."""
    return bucket_ // (100 // FOLDS)


def patient_keys(images: pd.DataFrame, family: str | None, name: str) -> pd.Series:
    """Return `<family>:<patient>`, or `<name>:<image>` where patients are unknown."""
    if family is None:
        return name + ":" + images["image_id"]
    return family + ":" + images["patient_id"]


def choose_preset(
    presets: Mapping[str, str | Sequence[str]], dataset: str, folded: bool, folder: Path
) -> str:
    """Name the split that a protocol gives a dataset; `-image` where there is no patient key to leak.

    Args:
        presets: knob `split` of the protocol: by dataset, `default`, and `folds`, a preset or several in
            order of preference.
        dataset: its name.
        folded: whether the evaluation goes over folds.
        folder: prepared splits of the dataset.

    Returns:
        The first that is prepared; if none is, the last, which needs the least beside the images.
    """
    stated = presets["folds"] if folded else presets.get(dataset, presets["default"])
    wanted = [stated] if isinstance(stated, str) else stated
    names = [name for preset in wanted for name in (preset, f"{preset.removesuffix('-leaky')}-image")]
    return next((name for name in names if (folder / f"{name}.parquet").exists()), wanted[-1])


def take_fraction(n: int, fraction: float, floor: int = 1) -> int:
    """Return how many of `n` ranked images belong to `fraction`: max(floor, floor(fraction * n)), at most n.

    Raises:
        InputError: the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise InputError(f"fraction {fraction} is not in (0, 1]; use for example 0.01, 0.1 or 1")
    return min(n, max(floor, int(np.floor(fraction * n + 1e-9))))
