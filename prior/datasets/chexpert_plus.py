"""CheXpert Plus: the reports of CheXpert (Chambon et al. 2024), beside CheXpert's images and labels."""

from pathlib import Path

import pandas as pd

from prior.datasets import base, chexpert
from prior.datasets.chexpert_lists import Published, image_ids
from prior.errors import InputError

TABLE = "df_chexpert_plus_*.csv*"
SECTIONS = ["report", "section_findings", "section_impression"]


def read(root: Path) -> base.RawDataset:
    """Read CheXpert as `chexpert` does and the reports from `df_chexpert_plus_*.csv` in the same folder.

    The table has a row per image; views of one study repeat its report. Rows of images that CheXpert's tables
    lack are left out and counted.

    Raises:
        InputError: CheXpert or the table of reports is wrong, or two views of a study have different reports.
    """
    base.require_folder(root, "chexpert_plus", f"CheXpert (train.csv, train/) and {TABLE}")
    found = sorted(root.glob(TABLE))
    if not found:
        raise InputError(f"{root / TABLE} is missing; copy the table of CheXpert Plus there")
    path = found[-1]
    frame = base.read_csv(path, ["path_to_image", *SECTIONS])
    base.require_present(frame, "path_to_image", path)
    base.require_unique(frame, "path_to_image", path)
    frame["image_id"] = image_ids(Published(path, frame["path_to_image"]))
    raw = chexpert.read(root)
    reports, dropped = _reports(frame, raw.images, path)
    raw.name, raw.reports = "chexpert_plus", reports
    raw.layout += f", reports of {path.name}"
    raw.dropped += dropped
    return raw


def _reports(
    frame: pd.DataFrame, images: pd.DataFrame, path: Path
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    joined = frame.merge(images[["image_id", "study_id", "patient_id"]], on="image_id", how="left")
    unknown = joined["study_id"].isna()
    dropped = [
        {"source": source, "reason": "report of an image that CheXpert's tables lack"}
        for source in joined.loc[unknown, "path_to_image"]
    ]
    known = joined[~unknown]
    text = known["report"].fillna("")
    text = text.where(text.ne(""), known[SECTIONS[1:]].fillna("").agg("\n\n".join, axis=1).str.strip())
    written = known.assign(text=text)
    empty = written["text"].eq("")
    dropped += [
        {"source": source, "reason": "empty report"} for source in written.loc[empty, "path_to_image"]
    ]
    written = written[~empty]
    if written.empty:
        raise InputError(f"{path} has no report of an image in train.csv; use both tables as released")
    studies = written.drop_duplicates(["study_id", "text"])
    twice = studies["study_id"].duplicated()
    if twice.any():
        raise InputError(
            f"{path}: the views of {studies.loc[twice, 'study_id'].iloc[0]} have different reports; "
            "use the table as released"
        )
    return pd.DataFrame(
        {
            "study_id": studies["study_id"],
            "patient_id": studies["patient_id"],
            "text": studies["text"],
            "findings": studies["section_findings"],
            "impression": studies["section_impression"],
        }
    ).reset_index(drop=True), dropped
