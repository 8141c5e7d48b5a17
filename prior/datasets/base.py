"""What a reader returns, and the checks that all readers share."""

import csv
import os
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.pixels import Picture, load_pixels
from prior.errors import InputError

FRONTAL_VIEWS = ("AP", "PA")
OLDEST = 130.0  # years


@dataclass
class RawDataset:
    """A raw folder as tables, before any image is decoded.

    Attributes:
        name: dataset name.
        layout: which of the known folder layouts was found.
        root: folder that `images.source` is relative to.
        images: image_id, study_id, patient_id, study_order, view, sex, age, site, source; optionally
            official_split (train, validation, test or missing).
        labels: image_id and one column per finding (1, 0, -1, missing), or None.
        boxes: image_id, label, x_min, y_min, x_max, y_max in original pixels, or None.
        masks: image_id, label, rle (COCO compressed, original size), or None.
        reports: study_id, patient_id, text, optionally findings and impression; instead of text, `source`
            (below root) where every report is a file, so that not all are held at once. Or None.
        patient_family: prefix of the patient key, None if the images have no patient key.
        strict_pool: official list that the hashed presets draw from, None for all images.
        held_out: patients that other datasets of the same images test on.
        table_rows: image_id of every row of the released table, where peers split its rows.
        dropped: source and reason of everything that was left out.
        notes: facts about how the records were made, copied into the manifest.
        load_pixels: decoder of one file.
    """

    name: str
    layout: str
    root: Path
    images: pd.DataFrame
    labels: pd.DataFrame | None = None
    boxes: pd.DataFrame | None = None
    masks: pd.DataFrame | None = None
    reports: pd.DataFrame | None = None
    patient_family: str | None = None
    strict_pool: str | None = None
    held_out: frozenset[str] = frozenset()
    table_rows: pd.Series | None = None
    dropped: list[dict[str, str]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    load_pixels: Callable[[Path, int], Picture] = load_pixels


def require_keys(raw: RawDataset) -> None:
    """Stop if there is no image, two have one id, or a study has two patients, before hours of decoding."""
    images = raw.images
    if images.empty:
        reasons = "; ".join(sorted({item["reason"] for item in raw.dropped}))
        why = f"all are left out ({reasons})" if reasons else "the lists name none"
        raise InputError(f"{raw.root} gives no image of {raw.name}: {why}; correct the tables")
    twice = images["image_id"].duplicated()
    if twice.any():
        image = images.loc[twice, "image_id"].iloc[0]
        first, second = images.loc[images["image_id"] == image, "source"].iloc[:2]
        both = f"{first} is listed twice" if first == second else f"{first} and {second} have one id"
        raise InputError(f"{raw.root}: {both} ({image}); remove or rename one of the two")
    owners = images[["study_id", "patient_id"]].drop_duplicates()["study_id"]
    if owners.duplicated().any():
        study = owners[owners.duplicated()].iloc[0]
        raise InputError(f"{raw.root}: study {study} belongs to two patients; correct the tables")


def require_folder(root: Path, dataset: str, expected: str) -> None:
    """Stop if `root` is no folder; `expected` says what should be in it."""
    if not root.is_dir():
        raise InputError(
            f"raw folder {root} of dataset {dataset} does not exist; put {expected} there or correct the path"
        )


def folder_with(root: Path, name: str) -> Path:
    """Return `root`, or the one folder in it that holds file `name`, as after unpacking an archive."""
    if (root / name).is_file():
        return root
    return next((path for path in sorted(root.iterdir()) if (path / name).is_file()), root)


def find_csv(root: Path, stem: str, dataset: str) -> Path:
    """Return `<root>/<stem>.csv`, or the same file compressed as .csv.gz."""
    for path in (root / f"{stem}.csv", root / f"{stem}.csv.gz"):
        if path.is_file():
            return path
    raise InputError(
        f"{root / stem}.csv (or .csv.gz) is missing; dataset {dataset} needs it: copy it into the raw folder"
    )


def read_csv(path: Path, required: Sequence[str]) -> pd.DataFrame:
    """Read a csv with blanks stripped from header and cells, and check its columns.

    Args:
        path: the file, plain or gzip; if it is not there, `<path>.gz` is read.
        required: columns that must be there.

    Returns:
        All cells as text; empty cells are missing.

    Raises:
        InputError: the file cannot be parsed or ends within a row, has no rows, lacks a column or has one
            twice.
    """
    packed = path.with_name(path.name + ".gz")
    if not path.is_file() and not packed.is_file():
        raise InputError(f"{path} is missing; copy it into the raw folder")
    path = path if path.is_file() else packed
    try:
        frame = _parse_csv(path)
    except (ValueError, OSError, EOFError, zlib.error, csv.Error) as error:
        raise InputError(f"{path} cannot be read as csv ({error}); replace the file") from None
    missing = [name for name in required if name not in frame.columns]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r} (found: {', '.join(frame.columns)}); "
            "use the file as released, or rename the column"
        )
    if frame.empty:
        raise InputError(f"{path} has no rows; replace the file")
    for name in frame.columns:
        frame[name] = frame[name].str.strip()
    return frame.replace("", np.nan)


def _parse_csv(path: Path) -> pd.DataFrame:
    """Parse a csv as text.

    Left to itself, pandas names a second column of one name `name.1`, takes the first cells of longer rows
    for an index, so that every column shifts, and fills up a row that was cut off.

    Raises:
        ValueError: what is written above, and whatever pandas finds wrong.
    """
    names = _read_text(path, header=None, nrows=1).iloc[0].str.strip()
    twice = names[names.duplicated() & names.ne("")]
    if len(twice):
        raise ValueError(f"two columns are called {twice.iloc[0]!r}")
    with warnings.catch_warnings(record=True) as cut:
        warnings.simplefilter("always", pd.errors.ParserWarning)
        frame = _read_text(path, index_col=False)
    if cut:  # rows longer than the header: harmless where they only end in a comma
        rest = _read_text(path, header=None, skiprows=1).iloc[:, len(names) :]
        surplus = (rest.fillna("") != "").any(axis=1)
        if surplus.any():
            line = int(surplus.to_numpy().argmax()) + 2
            raise ValueError(f"line {line} has more cells than the header has names")
    frame.columns = frame.columns.str.strip()
    named = np.flatnonzero(names.ne("").to_numpy())
    if len(named) and _ends_within_row(path, int(named[-1]) + 1):
        raise ValueError("it ends within a row")
    return frame


def _read_text(path: Path, **how: Any) -> pd.DataFrame:
    """Read a csv with all cells as text, empty ones as empty."""
    frame: pd.DataFrame = pd.read_csv(path, dtype=str, skipinitialspace=True, keep_default_na=False, **how)
    return frame


def _ends_within_row(path: Path, cells: int) -> bool:
    """Whether the last row has fewer than `cells` cells and no end of line, as after a broken download."""
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        if path.suffix == ".gz" or stream.read(1) in (b"\n", b"\r"):
            return False
    with path.open(newline="", encoding="utf-8") as text:
        last = deque(csv.reader(text, skipinitialspace=True), maxlen=1)
    return bool(last) and 0 < len(last[0]) < cells


def to_numbers(frame: pd.DataFrame, names: Iterable[str], path: Path) -> pd.DataFrame:
    """Return `frame` with columns `names` as float; a cell that is no finite number is an InputError."""
    frame = frame.copy()
    for name in names:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        wrong = (numbers.isna() | np.isinf(numbers)) & frame[name].notna()
        if wrong.any():
            _stop(path, frame, wrong, name, "a number")
        frame[name] = numbers.astype(float)
    return frame


def to_ages(frame: pd.DataFrame, name: str, path: Path) -> pd.Series:
    """Return column `name` as years; a cell that is no age is an InputError."""
    ages = to_numbers(frame, [name], path)[name]
    wrong = ages.notna() & ~ages.between(0, OLDEST)
    if wrong.any():
        _stop(path, frame, wrong, name, f"an age in years, 0 to {OLDEST:.0f}")
    return ages


def to_labels(frame: pd.DataFrame, names: Sequence[str], path: Path) -> pd.DataFrame:
    """Return the columns `names` as labels 1, 0, -1 or missing, spelled with underscores.

    Raises:
        InputError: a label is something else; the message names file, row and column.
    """
    numbers = to_numbers(frame, names, path)
    for name in names:
        wrong = numbers[name].notna() & ~numbers[name].isin((1.0, 0.0, -1.0))
        if wrong.any():
            _stop(path, frame, wrong, name, "one of 1, 0, -1 or blank")
    return numbers[list(names)].rename(columns={name: name.replace(" ", "_") for name in names})


def require_values(frame: pd.DataFrame, name: str, allowed: Collection[str], path: Path) -> None:
    """Stop if column `name` holds a value that is not in `allowed` (missing values pass)."""
    wrong = frame[name].notna() & ~frame[name].isin(list(allowed))
    if wrong.any():
        _stop(path, frame, wrong, name, f"one of {', '.join(sorted(allowed))}")


def require_present(frame: pd.DataFrame, name: str, path: Path) -> None:
    """Stop if column `name` has an empty cell."""
    if frame[name].isna().any():
        _stop(path, frame, frame[name].isna(), name, "a value")


def require_unique(frame: pd.DataFrame, name: str, path: Path) -> None:
    """Stop if column `name` names something twice."""
    twice = frame[name].duplicated()
    if twice.any():
        _stop(path, frame, twice, name, "a value that no earlier row has")


def find_files(root: Path, sources: pd.Series) -> pd.Series:
    """Return `sources` with endings in the case in which they are on disk.

    A source that is not there stays as it is: preparing counts missing images and stops if there are more
    than the user allows.
    """
    return sources.map(lambda source: _on_disk(root, source))


def _on_disk(root: Path, source: str) -> str:
    stem, dot, ending = source.rpartition(".")
    spellings = (source, f"{stem}{dot}{ending.upper()}", f"{stem}{dot}{ending.lower()}")
    # os.path answers False where a path cannot exist (a name that is too long); Path raises.
    return next((name for name in spellings if os.path.isfile(root / name)), source)


def read_report(path: Path) -> str:
    """Return the text of a report file; bytes that are not UTF-8 become replacement characters."""
    return path.read_text(encoding="utf-8", errors="replace")


def require_boxes(boxes: pd.DataFrame, path: Path) -> None:
    """Stop if a box has no extent or lies above or left of the image; the index must count csv rows."""
    sides = boxes[["x_min", "y_min", "x_max", "y_max"]]
    wrong = sides.isna().any(axis=1) | (sides["x_max"] <= sides["x_min"]) | (sides["y_max"] <= sides["y_min"])
    wrong |= (sides["x_max"] <= 0) | (sides["y_max"] <= 0)
    if wrong.any():
        row = boxes.index.to_numpy()[wrong.to_numpy()][0]
        first = sides[wrong].iloc[0]
        values = ", ".join(f"{name} {value}" for name, value in first.items())
        raise InputError(
            f"{place(path, int(row))}: the box ({values}) is empty or outside; correct or remove the row"
        )


def _stop(path: Path, frame: pd.DataFrame, wrong: pd.Series, name: str, wanted: str) -> None:
    position = int(np.flatnonzero(wrong.to_numpy())[0])
    value = "empty" if pd.isna(frame[name].iloc[position]) else repr(str(frame[name].iloc[position]))
    shown = "a value" if name in ("subject_id", "patient_id") else value
    raise InputError(f"{place(path, position)}, column {name!r}: {shown} is not {wanted}; correct this cell")


def place(path: Path, row: int) -> str:
    """Name a row of a table, or an annotation of a list in JSON, which has no lines."""
    return f"{path}, annotation {row}" if path.suffix == ".json" else f"{path}, line {row + 2}"


def study_order(patients: pd.Series, *by: pd.Series) -> pd.Series:
    """Number the studies of each patient from 0 in the order of `by` (dates, times, ids)."""
    keys = pd.DataFrame({"patient": patients, **{f"by{i}": column for i, column in enumerate(by)}})
    studies = keys.drop_duplicates().sort_values(list(keys.columns))
    studies["order"] = studies.groupby("patient").cumcount()
    return keys.merge(studies, how="left", on=list(keys.columns))["order"].astype(int).set_axis(keys.index)
