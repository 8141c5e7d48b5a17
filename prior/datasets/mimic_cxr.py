"""MIMIC-CXR-JPG 2.0.0 with the reports of MIMIC-CXR (Johnson et al. 2019)."""

from pathlib import Path

import numpy as np
import pandas as pd

from prior.datasets import base
from prior.datasets.raw_files import require_digits, require_inside, whole_ids
from prior.errors import InputError

NAME, PREFIX = "mimic_cxr", "mimic-cxr-2.0.0"
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
VIEWS = {"AP": "AP", "PA": "PA", "LATERAL": "LATERAL", "LL": "LATERAL"}
SPLITS = {"train": "train", "validate": "validation", "test": "test"}
KEYS = ["subject_id", "study_id"]


def read(root: Path) -> base.RawDataset:
    """Read `root` with files/pXX/pS/sT/<dicom>.jpg, reports files/pXX/pS/sT.txt and the csv tables.

    Images whose view is neither AP, PA nor lateral are kept as OTHER and take no part in splits.

    Raises:
        InputError: a table, column, value or image file is missing or wrong.
    """
    base.require_folder(root, NAME, f"the files/ tree and the {PREFIX}-*.csv tables")
    metadata = _table(root, "metadata", ["dicom_id", *KEYS, "ViewPosition", "StudyDate", "StudyTime"])
    path = base.find_csv(root, f"{PREFIX}-metadata", NAME)
    base.require_unique(metadata, "dicom_id", path)
    # as numbers, since times lack their leading zeros
    metadata = base.to_numbers(metadata, ["StudyDate", "StudyTime"], path)
    images = _images(root, metadata)
    tree = "mimic-cxr-reports/files" if (root / "mimic-cxr-reports" / "files").is_dir() else "files"
    reports, dropped = find_reports(root, tree, images)
    labels, listed_in = _labels(root)
    _require_known(images["study_id"].isin(labels["study_id"]), listed_in, path)
    labels = images[["image_id", "study_id"]].merge(labels, on="study_id", how="left")
    return base.RawDataset(
        name=NAME,
        layout=f"MIMIC-CXR-JPG 2.0.0, reports in {tree}",
        root=root,
        images=images,
        labels=labels.drop(columns="study_id"),
        reports=reports,
        patient_family="mimic",
        dropped=dropped,
    )


def _table(root: Path, kind: str, required: list[str]) -> pd.DataFrame:
    path = base.find_csv(root, f"{PREFIX}-{kind}", NAME)
    frame = base.read_csv(path, required)
    for name in [name for name in required if name.endswith("_id")]:
        base.require_present(frame, name, path)
        frame[name] = whole_ids(frame[name])
    for name in [name for name in KEYS if name in required]:
        require_digits(frame, name, path)
    return frame


def _images(root: Path, metadata: pd.DataFrame) -> pd.DataFrame:
    path = base.find_csv(root, f"{PREFIX}-split", NAME)
    table = base.find_csv(root, f"{PREFIX}-metadata", NAME)
    split = _table(root, "split", ["dicom_id", "split"])
    base.require_values(split, "split", SPLITS, path)
    base.require_unique(split, "dicom_id", path)
    frame = metadata.merge(split[["dicom_id", "split"]], on="dicom_id", how="left")
    _require_known(frame["split"].notna(), path, table)
    patient, study = frame["subject_id"], frame["study_id"]
    source = "files/p" + patient.str[:2] + "/p" + patient + "/s" + study + "/" + frame["dicom_id"] + ".jpg"
    require_inside(source, table)
    source = base.find_files(root, source)
    return pd.DataFrame(
        {
            "image_id": frame["dicom_id"],
            "study_id": study,
            "patient_id": patient,
            "study_order": base.study_order(patient, frame["StudyDate"], frame["StudyTime"], study),
            "view": frame["ViewPosition"].map(VIEWS).fillna("OTHER"),
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": source,
            "official_split": frame["split"].map(SPLITS),
        }
    )


def _require_known(known: pd.Series, path: Path, listed_in: Path) -> None:
    if not known.any():
        raise InputError(f"{path} names nothing of {listed_in.name}; use tables of one release")


def _labels(root: Path) -> tuple[pd.DataFrame, Path]:
    path = base.find_csv(root, f"{PREFIX}-chexpert", NAME)
    frame = _table(root, "chexpert", [*KEYS, *FINDINGS])
    base.require_unique(frame, "study_id", path)
    return base.to_labels(frame, FINDINGS, path).assign(study_id=frame["study_id"]), path


def find_reports(root: Path, tree: str, images: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Return study_id, patient_id and source of the reports `<tree>/pXX/pS/sT.txt` that have text.

    What was left out comes second.

    Raises:
        InputError: there is no report.
    """
    reports = images[["study_id", "patient_id"]].drop_duplicates("study_id", ignore_index=True)
    patient = reports["patient_id"]
    reports["source"] = f"{tree}/p" + patient.str[:2] + "/p" + patient + "/s" + reports["study_id"] + ".txt"
    reasons = [_left_out_for(root / source) for source in reports["source"]]
    dropped = [
        {"source": str(source), "reason": reason}
        for source, reason in zip(reports["source"], reasons, strict=True)
        if reason is not None
    ]
    if len(dropped) == len(reports):
        raise InputError(f"{root / tree} holds no report (pXX/pS/sT.txt); unpack mimic-cxr-reports.zip there")
    return reports[[reason is None for reason in reasons]].reset_index(drop=True), dropped


def _left_out_for(path: Path) -> str | None:
    try:
        text = base.read_report(path)
    except OSError:
        return "study without report file"
    return None if text.strip() else "empty report"
