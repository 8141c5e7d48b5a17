"""Variants of a method beside its full one: values and paired differences on the primary metrics."""

from typing import Any

import pandas as pd

from prior.metrics.arrays import Floats
from prior.metrics.rows import METHOD_COLUMNS, SETTING_COLUMNS, WITHOUT_ENCODER, primary
from prior.results.aggregate import paired_difference
from prior.results.differences import units_by_method

COLUMNS = [
    *(*METHOD_COLUMNS, "full", *SETTING_COLUMNS, "metric", "value", "ci_low", "ci_high"),
    *("difference", "difference_low", "difference_high", "p", "n_pretrain_seeds", "simulated"),
]
FULL_VARIANTS = ("default", "described", "reconstructed", "adapted")


def full_variant(variants: list[str]) -> str | None:
    """The variant that the others leave something out of, if it was run."""
    return next((name for name in FULL_VARIANTS if name in variants), None)


def ablations(rows: pd.DataFrame, replicates: Floats) -> pd.DataFrame:
    """Every variant of the methods that have several, with its difference to the full variant.

    Args:
        rows: cell rows; the index points into `replicates`.
        replicates: [rows, B].
    """
    # Variants of `imported` are encoders of many methods.
    chosen = primary(rows)
    chosen = chosen[~chosen["method"].isin([*WITHOUT_ENCODER, "imported"])]
    chosen = chosen[chosen.groupby("method")["variant"].transform("nunique") > 1]
    found: list[dict[str, Any]] = []
    for (method, data), of_method in chosen.groupby(["method", "pretraining_data"]):
        full = full_variant(sorted(set(of_method["variant"])))
        for setting, group in of_method.groupby(SETTING_COLUMNS):
            units = units_by_method(group, replicates)
            place = dict(zip(SETTING_COLUMNS, setting, strict=True))
            for key, unit in units.items():
                value = unit.interval()
                row = {**dict(zip(METHOD_COLUMNS, key, strict=True)), **place, "full": key[1] == full}
                row |= {"metric": group["metric"].iloc[0], "n_pretrain_seeds": len(unit.seed_means(0))}
                row |= {"value": value.mean, "ci_low": value.low, "ci_high": value.high}
                if key[1] != full and (method, full, data) in units:
                    change = paired_difference(unit, units[method, full, data])
                    row |= {"difference": change.mean, "p": change.p}
                    row |= {"difference_low": change.low, "difference_high": change.high}
                found.append({**row, "simulated": bool(group["simulated"].any())})
    table = pd.DataFrame(found, columns=COLUMNS)
    order = {"method": True, "pretraining_data": True, "full": False, "variant": True}
    return table.sort_values(list(order), ascending=list(order.values()), kind="stable", ignore_index=True)
