"""CheXpert 5x200 by the rule of GLoRIA (Huang et al., ICCV 2021)."""

from pathlib import Path

import pandas as pd

from prior.datasets import base
from prior.datasets.chexpert_lists import by_hash, gloria_rule, read_paths, read_selection, write_classes

LIST = "chexpert_5x200.csv"


def read(root: Path) -> base.RawDataset:
    """Read CheXpert and select 200 images per class.

    GLoRIA drew without a seed. If `root` holds a published `chexpert_5x200.csv` (column Path), that is the
    selection; otherwise it is drawn by hash.

    Raises:
        InputError: CheXpert or the list is wrong, or a listed image does not qualify under the rule.
    """
    listed = root / LIST
    published = read_paths(listed) if listed.is_file() else None
    return read_selection(root, "chexpert_5x200_gloria", gloria_rule, by_hash, published)


def write_subsets(out: Path, raw: base.RawDataset, strict: pd.DataFrame) -> list[Path]:
    """Write the classes."""
    return write_classes(out, raw, gloria_rule)
