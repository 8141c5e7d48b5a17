"""Phrase grounding: pointing game, contrast-to-noise ratio and mean IoU, averaged over images."""

import numpy as np
import pandas as pd

from prior.metrics.arrays import Floats, mean_of_defined, weighted_mean
from prior.metrics.cell import CellMetrics, Compute, Key, unit_numbers, units


def grounding_metrics(frame: pd.DataFrame) -> CellMetrics:
    """Metrics of one cell, each the mean over a finding's images and then over findings, with `chance`.

    `cnr` averages absolute values, as the metric is defined; `cnr_signed` does not, so that a map that is low
    inside the region counts against. `chance` is a constant map: a random point hits with the share of the
    image that the region covers, and that share is also the IoU of marking everything.

    Args:
        frame: one row per image and finding with `hit` (in [0, 1]), `cnr` (signed, NaN where undefined),
            `miou` and `area` (share of the image that the region covers).
    """
    table = units(frame)
    findings = sorted(frame["finding"].unique())
    parts = {finding: frame[frame["finding"] == finding] for finding in findings}
    numbers = {finding: unit_numbers(part["image_id"], table) for finding, part in parts.items()}

    def compute_of(constant: bool) -> Compute:
        facts = {finding: (_expected if constant else _measured)(part) for finding, part in parts.items()}

        def compute(weights: Floats) -> dict[Key, Floats]:
            values: dict[Key, Floats] = {}
            for name in next(iter(facts.values())):
                each = [_mean(facts[f][name], weights[:, numbers[f]]) for f in findings]
                values[name, ""] = mean_of_defined(each)
                if len(findings) > 1:
                    values |= {(name, f): value for f, value in zip(findings, each, strict=True)}
            return values

        return compute

    counts = {"": len(table)} | {finding: len(part) for finding, part in parts.items()}
    everyone = np.ones(len(table), dtype=bool)
    patients, chance = table["patient_id"].to_numpy(str), {"chance": compute_of(True)}
    return CellMetrics(patients, everyone, compute_of(False), chance, counts, counts)


def _measured(rows: pd.DataFrame) -> dict[str, Floats]:
    hit, contrast, overlap = (rows[name].to_numpy(np.float64) for name in ("hit", "cnr", "miou"))
    return {"pointing_game": hit, "cnr": np.abs(contrast), "cnr_signed": contrast, "miou": overlap}


def _expected(rows: pd.DataFrame) -> dict[str, Floats]:
    area = rows["area"].to_numpy(np.float64)
    none = np.zeros_like(area)
    return {"pointing_game": area, "cnr": none, "cnr_signed": none, "miou": area}


def _mean(values: Floats, weights: Floats) -> Floats:
    defined = ~np.isnan(values)
    return weighted_mean(values[defined], weights[:, defined])
