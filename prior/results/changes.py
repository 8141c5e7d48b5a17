"""What changed between two results of one experiment, cell by cell, and whether it is beyond the noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prior.errors import InputError
from prior.metrics.rows import DIAGNOSTIC_TASKS, METHOD_COLUMNS, PRIMARY, SETTING_COLUMNS, aggregated, primary
from prior.results.revisions import Side

KEY = [*METHOD_COLUMNS, *SETTING_COLUMNS, "fraction", "finding", "subgroup", "metric"]
COMPARED = ["value", "ci_low", "ci_high", "n_test"]
RESOLUTION = 1.5e-6
"""Values are stored with six decimals."""
ABSENT = "(absent)"
PLACE = ("task", "dataset", "protocol", "setting")
ROLES = ("primary", "exploratory", "by finding")
DATA_PARAMETERS = ("phantom", "datasets", "image")
"""Parts of `params.yaml` that say which images and reports there are."""


@dataclass(frozen=True)
class Changes:
    """The comparison of two sides.

    Attributes:
        cells: aggregated rows of both sides with `KEY`, `role`, `old`, `new`, `change`, `noise`, `verdict`
            (`equal`, `interval only`, `within`, `beyond`, `unknown`) and `other_test_set`; primary first.
        appeared: keys of aggregated rows that only the new side has.
        disappeared: keys of those that only the old side has.
        parameters: what `parameter_changes` found; None where the parameters of a side are not at hand.
        simulated: whether any row was measured on simulated data.
        other_data: what shows that the sides were measured on other data, in words; empty if nothing does.
    """

    cells: pd.DataFrame
    appeared: pd.DataFrame
    disappeared: pd.DataFrame
    parameters: dict[str, tuple[Any, Any]] | None
    simulated: bool
    other_data: list[str]


def noise(old_low: Any, old_high: Any, new_low: Any, new_high: Any) -> Any:
    """Half-width of the interval of a difference, from the 95 % intervals of its two sides.

    With half-widths h₁ and h₂ of the stored intervals, noise = √(h₁² + h₂²), and a change is beyond the noise
    if |new − old| > noise.

    Why: h = t·se, with se² = σ_b² + s²/S over test patients and seeds (`prior.metrics.intervals`). Of two
    independent measurements the difference has se² = se₁² + se₂². Each h brings the t quantile of its own
    degrees of freedom, so that √(h₁² + h₂²) = q·√(se₁² + se₂²), where q is the root mean square of t₁ and t₂
    weighted by se₁² and se₂². That is no less than their weighted mean, the quantile of Cochran and Cox,
    which is itself conservative. Two revisions mostly share patients and seeds, too: they err together, and
    their difference varies less than that of independent ones. So "beyond" can be relied on at 95 % per cell
    (of twenty cells with the same truth, at most one is expected there), while "within" says only that these
    intervals cannot tell. An interval of zero width, as of a chance level, adds nothing.
    """
    old, new = (old_high - old_low) / 2, (new_high - new_low) / 2
    return np.sqrt(old**2 + new**2)


def _means(side: Side) -> pd.DataFrame:
    means = aggregated(side.rows)
    repeated = means[means.duplicated(KEY)]
    if len(repeated):
        row = repeated.iloc[0]
        raise InputError(
            f"{side.name}: two aggregated rows of {row['method']}, {row['task']}, {row['dataset']}, "
            f"{row['metric']}; collect again"
        )
    return means


def check_comparable(old: Side, new: Side) -> None:
    """Raise where two results do not answer the same question.

    Raises:
        InputError: the experiments differ, or a data set is simulated on one side and real on the other.
    """
    names = [", ".join(sorted(set(side.rows["experiment"]))) for side in (old, new)]
    if names[0] != names[1]:
        raise InputError(
            f"{old.name} is of experiment `{names[0]}`, {new.name} of `{names[1]}`: compare results of one "
            "experiment"
        )
    kinds = [side.rows.groupby("dataset")["simulated"].any().to_dict() for side in (old, new)]
    mixed = [name for name in kinds[0] if name in kinds[1] and kinds[0][name] != kinds[1][name]]
    disjoint = not set(kinds[0]) & set(kinds[1]) and any(kinds[0].values()) != any(kinds[1].values())
    if mixed or disjoint:
        simulated = old.name if any(kinds[0][name] for name in (mixed or kinds[0])) else new.name
        raise InputError(
            f"{simulated} was measured on simulated data and the other side on real data"
            f"{f' ({mixed[0]})' if mixed else ''}: such numbers are never compared"
        )


def _verdicts(cells: pd.DataFrame) -> pd.DataFrame:
    cells = cells.assign(change=cells["new"] - cells["old"])
    cells["noise"] = noise(
        cells["ci_low_old"], cells["ci_high_old"], cells["ci_low_new"], cells["ci_high_new"]
    )
    both_missing = cells["old"].isna() & cells["new"].isna()
    same = (cells["change"].abs() < RESOLUTION) | both_missing
    bounds = [(cells[f"{end}_new"] - cells[f"{end}_old"]).abs() for end in ("ci_low", "ci_high")]
    one_interval = cells["ci_low_old"].isna() != cells["ci_low_new"].isna()
    moved = (bounds[0] >= RESOLUTION) | (bounds[1] >= RESOLUTION) | one_interval
    conditions = [same & ~moved, same, cells["noise"].isna() | cells["change"].isna()]
    beyond = np.where(cells["change"].abs() > cells["noise"], "beyond", "within")
    cells["verdict"] = np.select(conditions, ["equal", "interval only", "unknown"], beyond)
    cells["other_test_set"] = cells["n_test_old"].notna() & (cells["n_test_old"] != cells["n_test_new"])
    return cells


def _roles(rows: pd.DataFrame) -> pd.Series:
    chosen = primary(rows)
    leading = rows.index.isin(chosen.index[~chosen["task"].isin(DIAGNOSTIC_TASKS)])
    return pd.Series(
        np.select([leading, rows["finding"] == ""], ROLES[:2], ROLES[2]), index=rows.index, dtype=object
    )


def _named(value: Any) -> Any:
    """A list of mappings as a mapping, by what each item evaluates (or its place): order does not matter."""
    if not (isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value)):
        return value
    names = [[str(item[key]) for key in PLACE if key in item] for item in value]
    return {
        "/".join(parts) or str(position): item
        for position, (parts, item) in enumerate(zip(names, value, strict=True))
    }


def parameter_changes(old: Any, new: Any, key: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted key → old and new value of every parameter that differs; `ABSENT` where a side lacks it."""
    old, new = _named(old), _named(new)
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return {} if old == new else {key: (old, new)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys([*old, *new]):
        below = f"{key}.{name}" if key else str(name)
        found |= parameter_changes(old.get(name, ABSENT), new.get(name, ABSENT), below)
    return found


def other_data(
    old: Side, new: Side, cells: pd.DataFrame, parameters: Mapping[str, tuple[Any, Any]] | None
) -> list[str]:
    """What shows that two sides were measured on other data: parameters, recorded hashes, test sets."""
    # A preset splits the same images, and every row names its own.
    keys = [
        key
        for key in parameters or {}
        if key.partition(".")[0] in DATA_PARAMETERS and not key.endswith(".presets")
    ]
    found = [f"other parameters of the data ({', '.join(f'`{key}`' for key in keys)})"] if keys else []
    if old.data is not None and new.data is not None and old.data != new.data:
        found.append("another hash of the prepared data in `dvc.lock`")
    resized = cells.loc[cells["other_test_set"], "dataset"]
    if len(resized):
        found.append(f"another number of test images ({', '.join(sorted(set(resized)))})")
    return found


def changes(old: Side, new: Side) -> Changes:
    """Compare the aggregated rows of two sides.

    Raises:
        InputError: the experiments differ, one side is simulated and the other real, or a cell stands twice.
    """
    check_comparable(old, new)
    tables = [_means(side)[[*KEY, *COMPARED]] for side in (old, new)]
    merged = tables[0].merge(tables[1], on=KEY, how="outer", suffixes=("_old", "_new"), indicator="side")
    tasks = {task: place for place, task in enumerate(PRIMARY)}
    role = _roles(merged)
    merged = merged.assign(
        role=role, _role=role.map(ROLES.index), _task=merged["task"].map(tasks).fillna(len(tasks))
    )
    merged = merged.rename(columns={"value_old": "old", "value_new": "new"})
    merged = merged.sort_values(
        ["_role", "_task", *SETTING_COLUMNS[1:], "metric", "fraction", *METHOD_COLUMNS, "finding"]
    )
    parameters = None
    if old.params is not None and new.params is not None:
        parameters = parameter_changes(old.params, new.params)
    cells = _verdicts(merged[merged["side"] == "both"].reset_index(drop=True))
    return Changes(
        cells,
        merged[merged["side"] == "right_only"][KEY].reset_index(drop=True),
        merged[merged["side"] == "left_only"][KEY].reset_index(drop=True),
        parameters,
        bool(old.rows["simulated"].any() or new.rows["simulated"].any()),
        other_data(old, new, cells, parameters),
    )


def counts(cells: pd.DataFrame, roles: Sequence[str] = ROLES) -> dict[str, dict[str, int]]:
    """Role → number of cells, of cells that changed, and of those beyond the noise or of unknown noise."""
    found = {}
    for role in roles:
        verdicts = cells.loc[cells["role"] == role, "verdict"]
        changed = verdicts.isin(["within", "beyond", "unknown"])
        found[role] = {
            "cells": len(verdicts),
            "changed": int(changed.sum()),
            **{name: int((verdicts == name).sum()) for name in ("beyond", "unknown", "interval only")},
        }
    return found
