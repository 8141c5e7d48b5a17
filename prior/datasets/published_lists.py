"""Split lists that authors published, recognised by hash and read from the user's copy."""

import gzip
import hashlib
from pathlib import Path

import pandas as pd

from prior.datasets import base
from prior.errors import InputError

FOLDER, SIDES = "lovt", ("train", "validation", "test")
LOVT = "list of LoVT (philip-mueller/lovt)"
PRIOR_5X200 = "CheXpert 5x200 of PRIOR (QtacierP/PRIOR)"
SIIM_TABLE = "SIIM table as torchxrayvision ships it"
# Start of the sha256 of a file -> what it is, and for which dataset and side.
KNOWN = {
    "59bd1f1b7a1d": (LOVT, "rsna", "train"),
    "b20efb28a53f": (LOVT, "rsna", "validation"),
    "0691b6acb0fa": (LOVT, "rsna", "test"),
    "d5b4bdb6901e": (LOVT, "siim", "train"),
    "a9e8f5351837": (LOVT, "siim", "validation"),
    "e754cf32fc8f": (LOVT, "siim", "test"),
    "ca2133370225": (LOVT, "object_cxr", "train"),
    "002826aa3a2d": (LOVT, "object_cxr", "validation"),
    "b835757519db": (LOVT, "object_cxr", "test"),
    "89bb686c24f3": (LOVT, "nih_chestxray14", "train"),
    "e2c9a61d019f": (LOVT, "nih_chestxray14", "validation"),
    "095d96e15345": (LOVT, "nih_chestxray14", "test"),
    "c5bd73ffac3f": (LOVT, "covid_rural", "train"),
    "74ef0680583e": (LOVT, "covid_rural", "validation"),
    "c12291ddd5a1": (LOVT, "covid_rural", "test"),
    "f0b4ecbe9297": (PRIOR_5X200, "chexpert", "test"),
    "4a2d2a463511": (SIIM_TABLE, "siim", "all"),
}
# Datasets that are cut from the release of another, whose lists they share.
PART_OF = {"nih_boxes": "nih_chestxray14"}


def sha256_start(path: Path) -> str:
    """Return the first twelve hex digits of the sha256 of a file, unpacked if it is a .gz."""
    data = path.read_bytes()
    return hashlib.sha256(gzip.decompress(data) if path.suffix == ".gz" else data).hexdigest()[:12]


def recognise(path: Path, dataset: str, side: str) -> str:
    """Say which published list a file is, or that it is none.

    Raises:
        InputError: it is a published list, but of another dataset or side.
    """
    start, release = sha256_start(path), PART_OF.get(dataset, dataset)
    if start not in KNOWN:
        known = sorted({what for what, owner, _ in KNOWN.values() if owner == release})
        return f"unknown (sha256 {start}); known for {dataset}: {', '.join(known) or 'none'}"
    what, owner, part = KNOWN[start]
    if (owner, part) != (release, side):
        raise InputError(
            f"{path} is the {part} {what} for {owner}, not that of {side} for {dataset}; "
            "give every list the name and folder of its release"
        )
    return f"{what}, {part} (sha256 {start})"


def read_lists(raw: base.RawDataset) -> pd.DataFrame:
    """Read `lovt/train.csv`, `validation.csv` and `test.csv` (column ID) below the raw folder.

    What each file is, and how many listed images are not among the records, goes to `raw.notes`.

    Returns:
        image_id, split of the listed images, in the order of the lists.

    Raises:
        InputError: a list is missing, names no image of the dataset, or names one twice.
    """
    names = raw.images["source"].str.rsplit("/", n=1).str[-1].str.rsplit(".", n=1).str[0]
    by_name = pd.Series(raw.images["image_id"].to_numpy(), index=names.to_numpy())
    notes, parts = {}, []
    for side in SIDES:
        path = raw.root / FOLDER / f"{side}.csv"
        frame = base.read_csv(path, ["ID"])
        base.require_present(frame, "ID", path)
        found = frame["ID"].map(by_name[~by_name.index.duplicated()])
        if found.isna().all():
            raise InputError(f"{path} names no image of {raw.name}; copy the lists of this dataset there")
        notes[path.name] = f"{recognise(path, raw.name, side)}, {int(found.isna().sum())} not in the records"
        parts.append(pd.DataFrame({"image_id": found.dropna(), "split": side}))
    placed = pd.concat(parts, ignore_index=True)
    twice = placed["image_id"].duplicated()
    if twice.any():
        raise InputError(
            f"{raw.root / FOLDER}: image {placed.loc[twice, 'image_id'].iloc[0]} is listed twice; "
            "use the lists as released"
        )
    raw.notes["published_lists"] = notes
    return placed
