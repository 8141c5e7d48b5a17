"""Checks of table cells that several readers of foreign formats share."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from prior.datasets.base import place
from prior.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")


def require(good: pd.Series, frame: pd.DataFrame, name: str, wanted: str, path: Path) -> None:
    """Stop at the first row where `good` is False; the message has file, line, column and what was wanted."""
    if good.all():
        return
    position = int(np.flatnonzero(~good.to_numpy(dtype=bool))[0])
    value = frame[name].iloc[position]
    shown = "a value" if "patient" in name.lower() else "empty" if pd.isna(value) else repr(str(value))
    raise InputError(f"{place(path, position)}, column {name!r}: {shown} is not {wanted}; correct this cell")


def stays_inside(relative: str) -> bool:
    """Whether a relative path, with / between folders, stays below the folder that it starts from."""
    path = PurePosixPath(relative)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in relative and path.parts != ()


def index_images(root: Path, folders: Iterable[Path]) -> dict[str, str]:
    """Return file name without suffix -> path relative to `root` of the images directly in `folders`.

    Hidden files, such as the `._` files of archives made on a Mac, are no images.

    Raises:
        InputError: two files have the same name.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
                continue
            source = path.relative_to(root).as_posix()
            if path.stem in found:
                raise InputError(
                    f"{root}: {source} and {found[path.stem]} have the same name; remove one of them"
                )
            found[path.stem] = source
    return found


def indexed_or(names: pd.Series, found: dict[str, str], expected: str) -> pd.Series:
    """Return the paths of the images `names`; where one is not found, `expected` with {} for its name."""
    return names.map(lambda name: found.get(name, expected.format(name)))
