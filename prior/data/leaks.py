"""What a split shares between its sides: patients, studies, identical images, identical reports."""

import hashlib
from itertools import combinations
from typing import Any

import pandas as pd

from prior.data.schemas import SPLITS
from prior.errors import InputError


def leak_report(
    split: pd.DataFrame, images: pd.DataFrame, hashes: pd.Series, texts: pd.Series
) -> dict[str, Any]:
    """Count what each pair of sides of one preset has in common.

    Args:
        split: rows of `splits/<preset>` of one seed.
        images: the records.
        hashes: image_id -> hash of the decoded pixels.
        texts: study_id -> normalised report text (empty if there are no reports).

    Returns:
        `patients`, `studies`, `identical_images`, `identical_reports`: number of shared values per pair
        of sides ("train-test": 0 ...).
    """
    rows = split[["image_id", "split"]].merge(images[["image_id", "patient_id", "study_id"]], on="image_id")
    rows["hash"] = rows["image_id"].map(hashes)
    rows["text"] = rows["study_id"].map(texts) if len(texts) else None
    columns = {
        "patients": "patient_id",
        "studies": "study_id",
        "identical_images": "hash",
        "identical_reports": "text",
    }
    return {name: _shared(rows, column) for name, column in columns.items()}


def _shared(rows: pd.DataFrame, column: str) -> dict[str, int]:
    sides = {side: set(rows.loc[rows["split"] == side, column].dropna()) for side in SPLITS}
    return {f"{a}-{b}": len(sides[a] & sides[b]) for a, b in combinations(SPLITS, 2)}


def require_disjoint(report: dict[str, Any], preset: str, dataset: str) -> None:
    """Stop if a preset that promises patient-disjoint sides shares a patient or study.

    Raises:
        InputError: a `strict` preset (not `-image`) leaks.
    """
    if not preset.startswith("strict") or preset.endswith("-image"):
        return
    for kind in ("patients", "studies"):
        for pair, count in report[kind].items():
            if count:
                raise InputError(
                    f"splits/{preset} of {dataset}: {count} {kind} occur on both sides of {pair}; "
                    "a study must belong to one patient: correct the ids in the raw tables"
                )


def normalised_texts(reports: pd.DataFrame) -> pd.Series:
    """Return study_id -> hash of the report text in lower case with single blanks."""
    plain = reports["text"].str.lower().str.split().str.join(" ")
    hashed = plain.map(lambda text: hashlib.sha256(text.encode()).hexdigest()).astype(str)
    return pd.Series(hashed.to_numpy(), index=reports["study_id"].to_numpy())
