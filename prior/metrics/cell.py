"""What every task's metrics look like to `score`: units to resample, and functions of their weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prior.metrics.arrays import Bools, Floats

Key = tuple[str, str]
"""Metric name and finding; an empty finding stands for the macro value."""

Compute = Callable[[Floats], dict[Key, Floats]]
"""Weights of the units [B, n] → one value per resample [B] for every metric."""


@dataclass(frozen=True)
class CellMetrics:
    """Metrics of one cell.

    Attributes:
        patients: patient of each unit [n]; a unit is an image, or a query in retrieval.
        positive: whether a unit is positive [n], for resampling within strata.
        compute: the metrics.
        baselines: methods that need no training, from the same test set.
        n_test: images by finding; the empty finding counts all.
        n_pos: positives by finding; the empty finding counts positive images.
    """

    patients: np.ndarray
    positive: Bools
    compute: Compute
    baselines: Mapping[str, Compute]
    n_test: Mapping[str, int]
    n_pos: Mapping[str, int]


def units(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per image of `frame`, sorted: `image_id`, `patient_id`; its index is the unit number."""
    columns = frame[["image_id", "patient_id"]].astype(str)
    return columns.drop_duplicates("image_id").sort_values("image_id").reset_index(drop=True)


def wide(frame: pd.DataFrame, column: str, table: pd.DataFrame, findings: list[str]) -> Floats:
    """Image × finding matrix of `column` [n, findings]; NaN where an image has no row for a finding."""
    matrix = np.full((len(table), len(findings)), np.nan)
    columns = pd.Index(findings).get_indexer(pd.Index(frame["finding"]))
    matrix[unit_numbers(frame["image_id"], table), columns] = frame[column]
    return matrix


def unit_numbers(image_ids: pd.Series, table: pd.DataFrame) -> np.ndarray:
    """Unit number of each of `image_ids`, given the table of `units`."""
    return np.asarray(pd.Index(table["image_id"]).get_indexer(pd.Index(image_ids.astype(str))))
