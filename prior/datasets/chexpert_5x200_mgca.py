"""CheXpert 5x200 as MGCA draws it (Wang et al., NeurIPS 2022): GLoRIA's rule, seed 0 for every class."""

from pathlib import Path

import numpy as np
import pandas as pd

from prior.datasets import base
from prior.datasets.chexpert import FIVE, PER_CLASS
from prior.datasets.chexpert_lists import gloria_rule, read_selection, write_classes


def read(root: Path) -> base.RawDataset:
    """Read CheXpert and select 200 images per class; on the released `train.csv` these are MGCA's images.

    Raises:
        InputError: CheXpert is wrong.
    """
    return read_selection(root, "chexpert_5x200_mgca", gloria_rule, draw, None)


def draw(classes: pd.Series) -> pd.Series:
    """Draw 200 of each class, in the order of `train.csv`, from a fresh generator with seed 0."""
    chosen = []
    for name in FIVE:
        pool = classes[classes == name]
        count = min(PER_CLASS, len(pool))
        chosen.append(pool.iloc[np.random.RandomState(0).choice(len(pool), count, replace=False)])
    return pd.concat(chosen)


def write_subsets(out: Path, raw: base.RawDataset, strict: pd.DataFrame) -> list[Path]:
    """Write the classes."""
    return write_classes(out, raw, gloria_rule)
