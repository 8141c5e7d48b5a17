"""NIH ChestX-ray14 images with Open-i reports matched by their findings (label-matched pairing)."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.keys import bucket, split_of
from prior.datasets import base, nih_images
from prior.datasets.open_i import TERMS, read_open_i
from prior.datasets.pairing import jaccard, match, report_pools

PAIRING = "label-matched: image and report belong to different patients, chosen by their findings"


def read(root: Path) -> base.RawDataset:
    """Read a folder with nih_chestxray14/ and open_i/ and pair images with reports.

    Patients are split first (the hash of `strict`), the reports are split by text into disjoint pools, and
    images meet reports only inside one side. Normal images and normal reports count as one finding.

    Raises:
        InputError: a folder, table, column, value or image file is missing or wrong.
    """
    base.require_folder(root, "nih_small", "nih_chestxray14/ and open_i/")
    frame = nih_images.read_table(root, "nih_small")
    labels = base.to_labels(frame, nih_images.FINDINGS, nih_images.table_path(root))
    sides = frame["patient_id"].map(lambda patient: split_of(bucket(f"{nih_images.FAMILY}:{patient}")))
    pairs, reports = _pair(frame["image_id"], labels, sides, read_open_i(root))
    owners = frame.set_index("image_id")["patient_id"]
    boxed = nih_images.read_boxes(root, frame["image_id"])["image_id"]
    annotated = frame["chestx_det"].notna() | frame["image_id"].isin(boxed)
    unpaired = frame.loc[~frame["image_id"].isin(pairs["image_id"]), "image"]
    return base.RawDataset(
        name="nih_small",
        layout="nih_chestxray14 with open_i",
        root=root,
        images=nih_images.image_records(frame),
        labels=labels.assign(image_id=frame["image_id"]),
        reports=_attach(pairs, reports, owners),
        patient_family=nih_images.FAMILY,
        held_out=frozenset(frame.loc[annotated, "patient_id"]),
        dropped=[{"source": str(name), "reason": "no report shares a finding"} for name in unpaired],
        notes={"pairing": PAIRING, "pairs": _describe(pairs, frame["image_id"], sides)},
    )


def _pair(
    image_ids: pd.Series, labels: pd.DataFrame, sides: pd.Series, reports: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = [*TERMS, "No_Finding"]
    pools = report_pools(reports["text"])
    parts = []
    for side in ("train", "validation", "test"):
        images, pool = sides == side, reports[pools == side]
        similarity = jaccard(labels.loc[images, names].to_numpy() == 1, pool[names].to_numpy(dtype=bool))
        parts.append(match(image_ids[images], similarity, pool["uid"]))
    return pd.concat(parts, ignore_index=True), reports


def _attach(pairs: pd.DataFrame, reports: pd.DataFrame, owners: pd.Series) -> pd.DataFrame:
    texts = pairs.merge(reports[["uid", "text", "findings", "impression"]], on="uid", how="left")
    return pd.DataFrame(
        {
            "study_id": texts["image_id"],
            "patient_id": texts["image_id"].map(owners),
            "text": texts["text"],
            "findings": texts["findings"],
            "impression": texts["impression"],
        }
    )


def _describe(pairs: pd.DataFrame, image_ids: pd.Series, sides: pd.Series) -> dict[str, Any]:
    """Say per side how many images share how many reports and how well they agree."""
    side_of = dict(zip(image_ids, sides, strict=True))
    grouped = pairs.groupby(pairs["image_id"].map(side_of))
    return {
        str(side): {
            "images": len(part),
            "reports": int(part["uid"].nunique()),
            "most_images_per_report": int(part["uid"].value_counts().max()),
            "mean_jaccard": round(float(np.mean(part["jaccard"])), 4),
        }
        for side, part in grouped
    }
