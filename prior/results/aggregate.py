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

    def seed_means(self, kind: int) -> Floats:
        """The metric of every pre-training seed (kind 0) or downstream seed (kind 1), the other averaged."""
        groups: dict[float, list[float]] = {}
        for unit, value in self.values.items():
            groups.setdefault(unit[kind], []).append(value)
        return np.array([np.mean(values) for values in groups.values()])

    def interval(self) -> Interval:
        """Mean over seeds and its 95 % interval, over patients and both kinds of seeds."""
        mean = float(np.mean(list(self.values.values())))
        averaged = np.stack(list(self.replicates.values())).mean(axis=0, dtype=np.float64)
        return interval(mean, averaged, self.seed_means(0), self.seed_means(1))


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


def _partners(first: Units, second: Units) -> dict[Unit, tuple[Unit, Unit]]:
    """Cells that share their seeds; a method with one seed of a kind stands beside all of the other's."""
    counts = [(len(first.seed_means(kind)), len(second.seed_means(kind))) for kind in (0, 1)]
    found: dict[Unit, tuple[Unit, Unit]] = {}
    for a in first.values:
        for b in second.values:
            if all(min(counts[kind]) == 1 or a[kind] == b[kind] for kind in (0, 1)):
                pretraining, downstream = ((a if counts[kind][0] > 1 else b)[kind] for kind in (0, 1))
                found[pretraining, downstream] = a, b
    return found


def paired_difference(first: Units, second: Units) -> Interval:
    """Interval of `first` − `second`, paired over resamples and, where both have them, over seeds.

    Raises:
        InputError: the two were tested on different patients, or have no seed in common.
    """
    if first.key != second.key:
        raise InputError("two methods were scored on different test patients; evaluate both again")
    partners = _partners(first, second).items()
    if not partners:
        raise InputError("two methods share no seed; give their evaluations the same `seeds`")
    return Units(
        {unit: first.values[a] - second.values[b] for unit, (a, b) in partners},
        {unit: first.replicates[a] - second.replicates[b] for unit, (a, b) in partners},
        first.key,
    ).interval()
