"""MIMIC-CXR 2.0.0 and 2.1.0 as DICOM with their reports (Johnson et al. 2019)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from prior.data.pixels import Picture, dicom_errors, load_pixels
from prior.datasets import base
from prior.datasets.cells import require
from prior.datasets.mimic_cxr import FINDINGS, KEYS, PREFIX, SPLITS, VIEWS, find_reports
from prior.datasets.raw_files import require_digits, require_inside, whole_ids

RECORDS = "cxr-record-list"
TREES = ("mimic-cxr-reports/files", "files")


def read(root: Path) -> base.RawDataset:
    """Read the images of `cxr-record-list.csv[.gz]` and the reports of their studies.

    The DICOM release has neither labels, split nor views: they come from MIMIC-CXR-JPG's tables where these
    are in `root`, views otherwise from the files. Ids and patient keys are those of `mimic_cxr`.

    Raises:
        InputError: a table, column, value or image file is missing or wrong.
    """
    base.require_folder(root, "mimic_cxr_dicom", f"files/, mimic-cxr-reports/ and {RECORDS}.csv.gz")
    path = base.find_csv(root, RECORDS, "mimic_cxr_dicom")
    frame = base.read_csv(path, [*KEYS, "dicom_id", "path"])
    for name in (*KEYS, "dicom_id", "path"):
        base.require_present(frame, name, path)
    base.require_unique(frame, "dicom_id", path)
    for name in KEYS:
        frame[name] = whole_ids(frame[name])
        require_digits(frame, name, path)
    require_inside(frame["path"], path)
    patient, study = frame["subject_id"], frame["study_id"]
    place = "files/p" + patient.str[:2] + "/p" + patient + "/s" + study + "/" + frame["dicom_id"]
    same = frame["path"].str.rsplit(".", n=1).str[0] == place
    require(same, frame, "path", "files/pXX/pS/sT/<dicom_id>.dcm of the ids of its row", path)
    frame["path"] = base.find_files(root, frame["path"])
    tables = {kind: _table(root, kind) for kind in ("metadata", "split", "chexpert")}
    images = _images(frame, tables)
    tree = next((name for name in TREES if (root / name).is_dir()), TREES[0])
    reports, dropped = find_reports(root, tree, images)
    used = [kind for kind, table in tables.items() if table is not None]
    return base.RawDataset(
        name="mimic_cxr_dicom",
        layout=f"MIMIC-CXR as DICOM, reports in {tree}" + (f", tables {', '.join(used)}" if used else ""),
        root=root,
        images=images,
        labels=_labels(root, images, tables["chexpert"]),
        reports=reports,
        patient_family="mimic",
        dropped=dropped,
        load_pixels=load_view,
    )


def load_view(path: Path, at_least: int = 0) -> Picture:
    """Decode a file and name every view, so that a lateral image never counts as one of unknown view."""
    picture = load_pixels(path, at_least)
    import pydicom

    with dicom_errors(path):
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["ViewPosition"])
        written = str(header.get("ViewPosition", "") or "").strip()
    return replace(picture, header=picture.header | {"view": VIEWS.get(written, "OTHER")})


def _table(root: Path, kind: str) -> pd.DataFrame | None:
    """Read one of MIMIC-CXR-JPG's tables, or return None if it is not in `root`."""
    if not any((root / f"{PREFIX}-{kind}.csv{ending}").is_file() for ending in ("", ".gz")):
        return None
    key = "study_id" if kind == "chexpert" else "dicom_id"
    wanted = {
        "metadata": ["ViewPosition", "StudyDate", "StudyTime"],
        "split": ["split"],
        "chexpert": FINDINGS,
    }
    path = base.find_csv(root, f"{PREFIX}-{kind}", "mimic_cxr_dicom")
    frame = base.read_csv(path, [key, *wanted[kind]])
    base.require_present(frame, key, path)
    frame[key] = whole_ids(frame[key])
    base.require_unique(frame, key, path)
    if kind == "split":
        base.require_values(frame, "split", SPLITS, path)
    if kind == "metadata":  # as numbers, since times lack their leading zeros
        frame = base.to_numbers(frame, ["StudyDate", "StudyTime"], path)
    return frame


def _images(frame: pd.DataFrame, tables: dict[str, pd.DataFrame | None]) -> pd.DataFrame:
    images = pd.DataFrame(
        {
            "image_id": frame["dicom_id"],
            "study_id": frame["study_id"],
            "patient_id": frame["subject_id"],
            "view": None,
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": frame["path"],
        }
    )
    metadata, split = tables["metadata"], tables["split"]
    dates: list[pd.Series] = []
    if metadata is not None:
        facts = metadata.set_index("dicom_id").reindex(images["image_id"]).reset_index(drop=True)
        listed = images["image_id"].isin(metadata["dicom_id"])
        images["view"] = facts["ViewPosition"].map(VIEWS).fillna("OTHER").where(listed)
        dates = [facts["StudyDate"], facts["StudyTime"]]
    images["study_order"] = base.study_order(images["patient_id"], *dates, images["study_id"])
    if split is not None:
        sides = split.set_index("dicom_id")["split"].map(SPLITS)
        images["official_split"] = images["image_id"].map(sides)
    return images


def _labels(root: Path, images: pd.DataFrame, table: pd.DataFrame | None) -> pd.DataFrame | None:
    if table is None:
        return None
    path = base.find_csv(root, f"{PREFIX}-chexpert", "mimic_cxr_dicom")
    labels = base.to_labels(table, FINDINGS, path).assign(study_id=table["study_id"])
    joined = images[["image_id", "study_id"]].merge(labels, on="study_id", how="left")
    return joined.drop(columns="study_id")
