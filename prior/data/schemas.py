"""Schemas of the prepared tables; every table is checked when it is written and when it is read."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
import pyarrow
from pyarrow.parquet import ParquetWriter

from prior.data.files import atomic_path
from prior.errors import InputError

SPLITS = ("train", "validation", "test")
VIEWS = ("AP", "PA", "LATERAL", "OTHER")

_COLUMNS: dict[str, dict[str, pa.Column]] = {
    "images": {
        "image_id": pa.Column(str, unique=True),
        "study_id": pa.Column(str),
        "patient_id": pa.Column(str),
        "study_order": pa.Column(int, pa.Check.ge(0)),
        "view": pa.Column(str, pa.Check.isin(VIEWS), nullable=True),
        "sex": pa.Column(str, pa.Check.isin(("F", "M")), nullable=True),
        "age": pa.Column(float, pa.Check.in_range(0, 130), nullable=True),
        "site": pa.Column(str, nullable=True),
        "height": pa.Column(int, pa.Check.ge(1)),
        "width": pa.Column(int, pa.Check.ge(1)),
        "row": pa.Column(int, pa.Check.ge(0), unique=True),
        "source": pa.Column(str),
    },
    "labels": {
        "image_id": pa.Column(str, unique=True),
        r"^(?!image_id$).+": pa.Column(
            float, pa.Check.isin((1.0, 0.0, -1.0)), nullable=True, required=False, regex=True
        ),
    },
    "hashes": {
        "image_id": pa.Column(str, unique=True),
        "pixels": pa.Column(str),
        "perceptual": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{64}$")),
    },
    "boxes": {
        "image_id": pa.Column(str),
        "label": pa.Column(str),
        **{name: pa.Column(float, pa.Check.ge(0)) for name in ("x_min", "y_min", "x_max", "y_max")},
    },
    "masks": {"image_id": pa.Column(str), "label": pa.Column(str), "rle": pa.Column(str)},
    "reports": {
        "study_id": pa.Column(str, unique=True),
        "patient_id": pa.Column(str),
        "text": pa.Column(str),
        "findings": pa.Column(str, nullable=True),
        "impression": pa.Column(str, nullable=True),
    },
    "sentences": {
        "study_id": pa.Column(str),
        "position": pa.Column(int, pa.Check.ge(0)),
        "section": pa.Column(str),
        "sentence": pa.Column(str),
        "start": pa.Column(int, pa.Check.ge(0)),
        "end": pa.Column(int, pa.Check.ge(0)),
    },
    "split": {
        "image_id": pa.Column(str),
        "seed": pa.Column(int, pa.Check.ge(0)),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "fold": pa.Column(int, pa.Check.ge(-1)),
        "rank": pa.Column(float, pa.Check.in_range(0, 1, include_max=False), nullable=True),
    },
}
ROWS = 1 << 17  # of a row group
PART = 1 << 12
OPTIONAL_TABLES = ("labels", "boxes", "masks", "reports", "sentences")


@cache
def _schema(kind: str) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(_COLUMNS[kind], strict=True, coerce=True)


def _kind(name: str) -> str:
    return "split" if name.startswith("splits/") else name


def columns(name: str) -> list[str]:
    """Return the fixed columns of table `name`, in the order in which they are written."""
    return [column for column in _COLUMNS[_kind(name)] if not column.startswith("^")]


def empty_table(name: str) -> pd.DataFrame:
    """Return table `name` without rows, with its columns and types."""
    fixed = columns(name)
    return _schema(_kind(name)).validate(pd.DataFrame({column: [] for column in fixed}))


def validate(name: str, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Check `frame` against the schema of table `name`.

    Args:
        name: `images`, `hashes`, `labels`, `boxes`, `masks`, `reports`, `sentences` or `splits/<preset>`.
        frame: the rows; missing optional values are NaN.
        where: file that the message names when something is wrong.

    Raises:
        InputError: a column is missing or unknown, or a value lies outside its range.
    """
    try:
        checked = _schema(_kind(name)).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise InputError(f"{where}: {_explain(error.failure_cases)}") from None
    others = [column for column in checked.columns if column not in columns(name)]
    return checked[[*columns(name), *others]]


def _explain(cases: pd.DataFrame) -> str:
    """Say in one line what the first violation is, without showing text that could identify a patient."""
    first = cases.iloc[0]
    column, check = first["column"], str(first["check"])
    if check == "column_in_dataframe":
        return f"column {first['failure_case']!r} is missing; prepare the dataset again"
    if check == "column_in_schema":
        return f"column {first['failure_case']!r} does not belong here; prepare the dataset again"
    private = column in ("patient_id", "text", "findings", "impression", "sentence")
    case = first["failure_case"]
    value = "a value" if private else f"value {case.item() if hasattr(case, 'item') else case!r}"
    row = "" if pd.isna(first["index"]) else f" in row {int(first['index'])}"
    return f"column {column!r}{row}: {value} fails {check}; correct the raw file and prepare again"


def write_table(folder: Path, name: str, frame: pd.DataFrame) -> Path:
    """Check `frame` and write it to `<folder>/<name>.parquet` atomically; return the path."""
    return write_parts(folder, name, [frame])


def write_parts(folder: Path, name: str, parts: Iterable[pd.DataFrame]) -> Path:
    """Write a table that comes in parts, of which few are held at a time; what must be unique is so per part.

    Args:
        folder: of the prepared dataset.
        name: see `validate`.
        parts: one or more, all with the same columns.

    Returns:
        The path, `<folder>/<name>.parquet`.

    Raises:
        InputError: a part does not fit the schema; nothing is written then.
    """
    path = folder / f"{name}.parquet"
    checked = (validate(name, part, str(path)) for part in parts)
    tables = (pyarrow.Table.from_pandas(part, preserve_index=False) for part in checked)
    with atomic_path(path) as temporary, ExitStack() as stack:
        writer = None
        for group in _row_groups(tables):
            writer = writer or stack.enter_context(ParquetWriter(temporary, group.schema))
            writer.write_table(group)
    return path


def parts_of(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Cut a table into parts of `PART` rows, one at the least."""
    for start in range(0, max(len(frame), 1), PART):
        yield frame.iloc[start : start + PART].reset_index(drop=True)


def _row_groups(tables: Iterable[pyarrow.Table]) -> Iterator[pyarrow.Table]:
    """Cut and join tables so that all but the last have `ROWS` rows."""
    held: list[pyarrow.Table] = []
    for table in tables:
        held.append(table)
        while sum(map(len, held)) > ROWS:
            joined = pyarrow.concat_tables(held)
            yield joined.slice(0, ROWS).combine_chunks()
            held = [joined.slice(ROWS)]
    yield pyarrow.concat_tables(held).combine_chunks()


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read and check `<folder>/<name>.parquet`.

    Raises:
        InputError: the file is missing or does not fit the schema.
    """
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise InputError(f"{path} is missing; run `prior prepare` for this dataset first")
    return validate(name, pd.read_parquet(path), str(path))
