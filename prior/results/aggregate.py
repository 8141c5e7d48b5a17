"""Cells → seeds → one value with an interval; and paired differences of two methods on the same patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prior.errors import InputError
from prior.metrics.arrays import Floats
from prior.metrics.intervals import Interval, interval
from prior.metrics.rows import BASELINES, SETTING_COLUMNS

Unit = tuple[float, float]
"""Pre-training seed and downstream seed; −1 stands for none."""


def load_scores(files: Sequence[Path]) -> tuple[pd.DataFrame, Floats]:
    """Read all score files: rows (the index is the position in the replicates) and replicates [rows, B].

    Baselines of the same test set, which every bundle's file holds, are kept once.

    Raises:
        InputError: a file has another number of resamples than the first.
    """
    tables: list[pd.DataFrame] = []
    replicates: list[Floats] = []
    for path in sorted(files):
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
            found = archive["replicates"]
        if replicates and found.shape[1] != replicates[0].shape[1]:
            raise InputError(
                f"{path}: {found.shape[1]} resamples, other files have {replicates[0].shape[1]}; score again"
            )
        tables.append(pd.read_parquet(path))
        replicates.append(found)
    rows = pd.concat(tables, ignore_index=True)
    text = rows.select_dtypes(include=["object", "string"]).columns
    rows[text] = rows[text].fillna("")
    baseline = rows["method"].isin(BASELINES)
    key = [*SETTING_COLUMNS, "method", "fold", "metric", "finding", "resamples"]
    repeated = baseline & rows[baseline].duplicated(key).reindex(rows.index, fill_value=False)
    keep = ~repeated
    return rows[keep].reset_index(drop=True), np.concatenate(replicates)[keep.to_numpy()]


@dataclass(frozen=True)
class Units:
    """One metric of one method under one setting, folds averaged.

    Attributes:
        values: per pre-training and downstream seed.
        replicates: the same on each resample [B].
        key: which resamples were used; only equal keys may be paired.
    """

    values: dict[Unit, float]
    replicates: dict[Unit, Floats]
    key: tuple[str, ...]

    def collapsed(self, by_pretraining: bool) -> "Units":
        """Units whose spread counts: pre-training seeds (downstream seeds averaged), or downstream seeds."""
        groups: dict[Unit, list[Unit]] = {}
        for unit in self.values:
            groups.setdefault((unit[0], -1) if by_pretraining else (-1, unit[1]), []).append(unit)
        return Units(
            {group: float(np.mean([self.values[unit] for unit in units])) for group, units in groups.items()},
            {
                group: np.mean([self.replicates[unit] for unit in units], axis=0)
                for group, units in groups.items()
            },
            self.key,
        )

    @property
    def several_pretrainings(self) -> bool:
        """Whether more than one pre-training seed was evaluated."""
        return len({unit[0] for unit in self.values}) > 1

    def interval(self) -> Interval:
        """Mean over seeds and its 95 % interval."""
        chosen = self.collapsed(self.several_pretrainings)
        return interval(np.array(list(chosen.values.values())), np.stack(list(chosen.replicates.values())))


def fold_averaged(rows: pd.DataFrame, replicates: Floats) -> Units:
    """Average folds inside each seed; a seed that lacks folds other seeds have is left out.

    Args:
        rows: cell rows of one metric of one method under one setting; the index points into `replicates`.
        replicates: [all rows, B].
    """
    members: dict[Unit, list[int]] = {}
    for position, unit in enumerate(
        zip(rows["pretrain_seed"].fillna(-1), rows["seed"].fillna(-1), strict=True)
    ):
        members.setdefault(unit, []).append(position)
    folds = max(map(len, members.values()))
    complete = {unit: index for unit, index in members.items() if len(index) == folds}
    values, index = rows["value"].to_numpy(), rows.index.to_numpy()
    return Units(
        {unit: float(values[where].mean()) for unit, where in complete.items()},
        {unit: replicates[index[where]].mean(axis=0, dtype=np.float64) for unit, where in complete.items()},
        tuple(sorted(set(rows["resamples"]))),
    )


def paired_difference(first: Units, second: Units) -> Interval:
    """Interval of `first` − `second`, paired over resamples and, where both have them, over seeds.

    Raises:
        InputError: the two were tested on different patients.
    """
    if first.key != second.key:
        raise InputError("two methods were scored on different test patients; evaluate both again")
    by_pretraining = first.several_pretrainings or second.several_pretrainings
    a, b = first.collapsed(by_pretraining), second.collapsed(by_pretraining)
    shared = [unit for unit in a.values if unit in b.values]
    if not shared or len(b.values) == 1:
        # A reference with one seed has no spread of its own to pair with.
        value = float(np.mean(list(b.values.values())))
        replicate: Floats = np.stack(list(b.replicates.values())).mean(axis=0)
        b = Units(dict.fromkeys(a.values, value), dict.fromkeys(a.values, replicate), b.key)
        shared = list(a.values)
    values = np.array([a.values[unit] - b.values[unit] for unit in shared])
    return interval(values, np.stack([a.replicates[unit] - b.replicates[unit] for unit in shared]))
