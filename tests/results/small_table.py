"""A `results.csv` of a few aggregated rows, written by hand."""

from pathlib import Path
from typing import Any

import pandas as pd

from prior.metrics.rows import AGGREGATED_COLUMNS, TEXT_COLUMNS

BASE: dict[str, Any] = {
    **{"experiment": "default", "method": "convirt", "variant": "default", "pretraining_data": "mimic_cxr"},
    **{"simulated": True, "task": "classification", "dataset": "chexpert", "protocol": "strict_small"},
    **{
        "setting": "linear",
        "split": "strict",
        "head": "logistic",
        "frozen": True,
        "fraction": 0.1,
        "metric": "auroc_macro",
    },
    **{"value": 0.75, "ci_low": 0.72, "ci_high": 0.78, "n_test": 500},
}


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    """Aggregated rows that differ from BASE in what is given."""
    table = pd.DataFrame([{**BASE, **row} for row in rows]).reindex(columns=AGGREGATED_COLUMNS)
    return table.astype(dict.fromkeys(TEXT_COLUMNS, object)).fillna(dict.fromkeys(TEXT_COLUMNS, ""))


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    """Write `<folder>/results.csv` and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    frame(*rows).to_csv(folder / "results.csv", index=False)
    return folder
