"""Paired differences over untrained, image-only and plain contrastive encoders, with Holm's rule.

Tasks that need a text encoder have no row of `random`; there, the reference is `chance`.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from prior.metrics.arrays import Floats
from prior.metrics.intervals import holm
from prior.metrics.rows import (
    BASELINES,
    METHOD_COLUMNS,
    PRIMARY,
    SETTING_COLUMNS,
    WITHOUT_ENCODER,
    primary,
)
from prior.results.aggregate import Units, fold_averaged, paired_difference

PLACE = [*SETTING_COLUMNS, "fraction", "metric"]
COLUMNS = [
    *PLACE,
    *("role", *METHOD_COLUMNS, "reference", "difference", "ci_low", "ci_high"),
    *("p", "p_holm", "n_seeds", "simulated"),
]
Method = tuple[Any, ...]
REFERENCES = ("random", "simclr", "convirt", "chance")
CORRECTED = "convirt"


def _reference(units: Mapping[Method, Units], name: str) -> Method | None:
    """The method called `name` in its plain variant."""
    keys = [key for key in units if key[0] == name and key[1] in ("", "default", "described")]
    return keys[0] if keys else None


def units_by_method(rows: pd.DataFrame, replicates: Floats) -> dict[Method, Units]:
    """Method, variant and pre-training data → its cells of one metric under one setting.

    Args:
        rows: cell rows; the index points into `replicates`.
        replicates: [all rows, B].
    """
    return {key: fold_averaged(part, replicates) for key, part in rows.groupby(METHOD_COLUMNS)}


def _compare(units: Mapping[Method, Units], name: str) -> list[dict[str, Any]]:
    """Rows of every method minus the one called `name`.

    Holm's family is the (methods − 1) comparisons of encoders with `convirt` under one setting and fraction.
    """
    reference = _reference(units, name)
    if reference is None:
        return []
    rows = []
    for key, unit in units.items():
        other = key[0] in WITHOUT_ENCODER and (key[0] in BASELINES or name == CORRECTED)
        if key != reference and not other:
            found = paired_difference(unit, units[reference])
            rows.append(
                dict(zip(METHOD_COLUMNS, key, strict=True))
                | {"reference": name, "difference": found.mean, "ci_low": found.low, "ci_high": found.high}
                | {"p": found.p, "n_seeds": found.n_seeds, "p_holm": None}
            )
    if name == CORRECTED:
        for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
            row["p_holm"] = adjusted
    return rows


def differences(rows: pd.DataFrame, replicates: Floats) -> pd.DataFrame:
    """All paired differences of macro metrics.

    Args:
        rows: cell rows; the index points into `replicates`.
        replicates: [rows, B].
    """
    leading = primary(rows).index
    unused = rows["method"].isin(set(BASELINES) - set(REFERENCES)) | (rows["metric"] == "n_unfit")
    chosen = rows[(rows["finding"] == "") & ~unused]
    found = []
    for setting, group in chosen.groupby(PLACE, dropna=False):
        place = dict(zip(PLACE, setting, strict=True))
        units = units_by_method(group, replicates)
        role = "primary" if group.index.isin(leading).any() else "exploratory"
        shared = {**place, "role": role, "simulated": bool(group["simulated"].any())}
        found += [{**shared, **row} for name in REFERENCES for row in _compare(units, name)]
    table = pd.DataFrame(found, columns=COLUMNS)
    tasks = {task: place for place, task in enumerate(PRIMARY)}
    order = ["_task", "frozen", "dataset", "protocol", "setting", "head", "fraction", "metric", "reference"]
    order += METHOD_COLUMNS
    table = table.assign(_task=table["task"].map(tasks), reference=table["reference"].astype(str))
    ascending = [name not in ("frozen", "reference") for name in order]
    return table.sort_values(order, ascending=ascending, kind="stable")[COLUMNS].reset_index(drop=True)
