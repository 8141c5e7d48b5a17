"""CheXpert 5x200 of PRIOR (Cheng et al., ICCV 2023), which is another selection than GLoRIA's."""

from pathlib import Path

import pandas as pd

from prior.datasets import base
from prior.datasets.chexpert import FIVE
from prior.datasets.chexpert_lists import (
    Published,
    by_hash,
    image_ids,
    prior_rule,
    read_selection,
    write_classes,
)
from prior.datasets.raw_files import read_json, require_list
from prior.errors import InputError

NAME, LIST = "chexpert_5x200_prior", "chexpert_5x200.json"


def read(root: Path) -> base.RawDataset:
    """Read CheXpert and select 200 images per class.

    PRIOR averages five draws and ships one as `chexpert_5x200.json`. If `root` holds it, it is the selection
    (the manifest says its hash); otherwise one draw by hash is.

    Raises:
        InputError: CheXpert or the list is wrong, or a listed image has another class under the rule.
    """
    file = root / LIST
    if not file.is_file():
        return read_selection(root, NAME, prior_rule, by_hash, None)
    listed, classes = _read_list(file)
    raw = read_selection(root, NAME, prior_rule, by_hash, listed)
    found = pd.Series(dtype=str) if raw.labels is None else prior_rule(raw.labels)
    wrong = image_ids(listed).map(found).to_numpy() != classes.to_numpy()
    if wrong.any():
        raise InputError(
            f"{file}: {listed.paths[wrong].iloc[0]!r} has another class in train.csv; use the released files"
        )
    return raw


def _read_list(file: Path) -> tuple[Published, pd.Series]:
    """Return the paths of the json, `{row: {image_path, label: one-hot list of five}}`, and their classes."""
    content = read_json(file)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{file}: expected an object of images by row number; use the file as released")
    items = require_list(list(content.values()), ("image_path", "label"), file, "images")
    for item in items:
        label = item["label"]
        one_hot = isinstance(label, list) and len(label) == len(FIVE) and label.count(0) + 1 == len(FIVE)
        if not isinstance(item["image_path"], str) or not one_hot or 1 not in label:
            raise InputError(
                f"{file}: {item['image_path']!r} has no one-hot label of five; use the file as released"
            )
    paths = pd.Series([item["image_path"] for item in items])
    if paths.duplicated().any():
        raise InputError(
            f"{file}: {paths[paths.duplicated()].iloc[0]!r} occurs twice; use the file as released"
        )
    return Published(file, paths), pd.Series([FIVE[item["label"].index(1)] for item in items])


def write_subsets(out: Path, raw: base.RawDataset, strict: pd.DataFrame) -> list[Path]:
    """Write the classes."""
    return write_classes(out, raw, prior_rule)
