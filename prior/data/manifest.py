"""What a prepared folder says about itself: counts, hashes, splits, and what was left out."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.lookup import positions
from prior.datasets.base import RawDataset

EXAMPLES = 20


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def count_records(raw: RawDataset, frontal: int) -> dict[str, Any]:
    """Count images, patients, studies, findings and annotations."""
    counts: dict[str, Any] = {
        "images": len(raw.images),
        "frontal_images": frontal,
        "studies": int(raw.images["study_id"].nunique()),
        "patients": int(raw.images["patient_id"].nunique()) if raw.patient_family else None,
    }
    for table in ("boxes", "masks"):
        frame = getattr(raw, table)
        counts[table] = 0 if frame is None else len(frame)
        counts[f"images_with_{table}"] = 0 if frame is None else int(frame["image_id"].nunique())
    counts["reports"] = 0 if raw.reports is None else len(raw.reports)
    if raw.labels is not None:
        findings = [name for name in raw.labels.columns if name != "image_id"]
        counts["findings"] = {name: count_values(raw.labels[name]) for name in findings}
    return counts


def count_values(column: pd.Series) -> dict[str, int]:
    """Count present, absent, uncertain and missing labels."""
    names = {"present": 1.0, "absent": 0.0, "uncertain": -1.0}
    return {name: int((column == value).sum()) for name, value in names.items()} | {
        "missing": int(column.isna().sum())
    }


def count_split(split: pd.DataFrame, images: pd.DataFrame, labels: pd.DataFrame | None) -> dict[str, Any]:
    """Count images, patients and positives of every side of a split (rows of one seed)."""
    patients = pd.factorize(images["patient_id"])[0][positions(split["image_id"], images["image_id"])]
    at = None if labels is None else positions(split["image_id"], labels["image_id"])
    result: dict[str, Any] = {}
    for side in sorted(split["split"].unique()):
        members = (split["split"] == side).to_numpy(dtype=bool)
        result[side] = {"images": int(members.sum()), "patients": len(np.unique(patients[members]))}
        if labels is not None and at is not None:
            own = at[members & (at >= 0)]
            findings = [name for name in labels.columns if name != "image_id"]
            result[side]["positives"] = {
                name: int((labels[name] == 1).to_numpy(dtype=bool)[own].sum()) for name in findings
            }
    if (split["fold"] >= 0).any():
        result["folds"] = [int(count) for count in split["fold"].value_counts().sort_index()]
    return result


def summarise_dropped(
    dropped: Sequence[Mapping[str, str]], most: int | None = EXAMPLES
) -> list[dict[str, Any]]:
    """Group what was dropped by reason, with the first sources as examples, or all (`most` None)."""
    reasons = Counter(item["reason"] for item in dropped)
    return [
        {
            "reason": reason,
            "count": count,
            "examples": [item["source"] for item in dropped if item["reason"] == reason][:most],
        }
        for reason, count in sorted(reasons.items())
    ]
