"""A side of a comparison: results of a Git revision, a file or a folder, with parameters where at hand."""

import io
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from prior.errors import InputError
from prior.metrics.rows import AGGREGATED_COLUMNS, FLAG_COLUMNS, TEXT_COLUMNS, WITHOUT_ENCODER

RESULTS = "results/results.csv"
PARAMS = "params.yaml"
LOCK = "dvc.lock"
PREPARED = "data/prepared"
WORKING = "results"


@dataclass(frozen=True)
class Side:
    """Results of one side.

    Attributes:
        name: as the user gave it.
        rows: all rows of its `results.csv`.
        params: its `params.yaml`; None where that is not at hand.
        data: hash of the prepared data that DVC recorded with the results; None where it did not.
    """

    name: str
    rows: pd.DataFrame
    params: Mapping[str, Any] | None
    data: str | None


def _with_setting(frame: pd.DataFrame) -> pd.DataFrame:
    """Add `setting`, which tables of earlier versions name in `run` of their cells alone."""
    place = ["task", "dataset", "protocol", "split", "head", "frozen"]
    if "setting" in frame or not {*place, "method", "run"} <= set(frame.columns):
        return frame
    frame[place] = frame[place].fillna("")
    cells = frame[frame["run"].notna() & ~frame["method"].isin(WITHOUT_ENCODER)]
    folders = cells["run"].str.split("/").str[2].fillna("")
    names = [folder.removeprefix(f"{name}-") for folder, name in zip(folders, cells["protocol"], strict=True)]
    known = cells.assign(setting=names).drop_duplicates(place)
    return frame.merge(known[[*place, "setting"]], on=place, how="left")


def parse_results(text: str, where: str) -> pd.DataFrame:
    """Rows of a `results.csv`, text columns as text and flags as booleans.

    Args:
        text: content of the file.
        where: what the message names when something is wrong.

    Raises:
        InputError: it is no table, lacks columns, or holds something that is no number or flag.
    """
    try:
        frame = pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(TEXT_COLUMNS, str))
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{where} is no table: {error}") from None
    frame = _with_setting(frame)
    missing = [name for name in AGGREGATED_COLUMNS if name not in frame.columns]
    if missing:
        raise InputError(
            f"{where} lacks the columns {', '.join(missing)}; give a results.csv that `prior collect` wrote"
        )
    if frame.empty:
        raise InputError(f"{where} has no rows; run the evaluation first (`snakemake all_benchmarks`)")
    frame[TEXT_COLUMNS] = frame[TEXT_COLUMNS].fillna("")
    for name in FLAG_COLUMNS:
        if not frame[name].isin([True, False]).all():
            raise InputError(f"{where}: column `{name}` holds something else than True and False")
        frame[name] = frame[name].astype(bool)
    for name in ("fraction", "seed", "value", "ci_low", "ci_high"):
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise InputError(f"{where}: column `{name}` holds something that is no number")
    return frame


def _params(text: str, where: str) -> Mapping[str, Any] | None:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not valid YAML: {error}") from None
    return content if isinstance(content, Mapping) else None


def _data_hash(text: str, where: str) -> str | None:
    """Hash of the prepared data that the stage `results` of a `dvc.lock` read; None where it names none."""
    content = _params(text, where) or {}
    stage = (content.get("stages") or {}).get("results") or {}
    return next((item.get("md5") for item in stage.get("deps") or [] if item["path"] == PREPARED), None)


def _git(*arguments: str) -> str | None:
    """Standard output of Git in the present folder; None where it fails or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, encoding="utf-8")
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _csv(path: Path) -> Path:
    """The `results.csv` that a path means: itself, or the one in or below the folder."""
    if path.is_file():
        return path
    for candidate in (path / "results.csv", path / RESULTS):
        if candidate.is_file():
            return candidate
    raise InputError(f"{path} holds neither results.csv nor {RESULTS}; give the file or its folder")


def side_of_path(path: Path) -> Side:
    """Results of a file or folder, with the `params.yaml` and `dvc.lock` beside or above them.

    Raises:
        InputError: there are no results, or they cannot be used.
    """
    csv = _csv(path)
    folders = (csv.parent, csv.absolute().parent.parent)
    params, lock = (
        next((folder / name for folder in folders if (folder / name).is_file()), None)
        for name in (PARAMS, LOCK)
    )
    return Side(
        str(path),
        parse_results(csv.read_text(encoding="utf-8"), str(csv)),
        None if params is None else _params(params.read_text(encoding="utf-8"), str(params)),
        None if lock is None else _data_hash(lock.read_text(encoding="utf-8"), str(lock)),
    )


def side_of_revision(revision: str) -> Side:
    """Results and parameters as Git keeps them at `revision`, relative to the present folder.

    Raises:
        InputError: Git does not know the revision, or it has no results.
    """
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise InputError(
            f"`{revision}` is neither a file or folder nor a revision that Git knows here "
            "(`git branch --all` and `git log --oneline` list some; `git fetch` brings others)"
        )
    text = _git("show", f"{commit.strip()}:./{RESULTS}")
    if text is None:
        raise InputError(f"revision {revision} has no {RESULTS} (run this in the project's folder)")
    params, lock = (_git("show", f"{commit.strip()}:./{name}") for name in (PARAMS, LOCK))
    return Side(
        revision,
        parse_results(text, f"{revision}:{RESULTS}"),
        None if params is None else _params(params, f"{revision}:{PARAMS}"),
        None if lock is None else _data_hash(lock, f"{revision}:{LOCK}"),
    )


def read_side(name: str) -> Side:
    """A path if there is one of that name, else a revision.

    Raises:
        InputError: it is neither, or its results cannot be used.
    """
    path = Path(name)
    return side_of_path(path) if path.exists() else side_of_revision(name)
