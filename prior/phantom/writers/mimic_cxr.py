"""MIMIC-CXR-JPG 2.0.0: image tree, reports, metadata, split and label tables."""

from pathlib import Path
from typing import Any

import pandas as pd

from prior.data.files import atomic_path, write_text
from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.common import (
    CHEXPERT_LABELS,
    opacity_named,
    shuffled_number,
    spaced,
    token,
    write_jpeg,
)

Rows = dict[str, list[dict[str, Any]]]


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one image and its report; return dicom id, study id (`s` + number) and table rows."""
    if report is None:
        raise ValueError("MIMIC-CXR studies have a report")
    subject = shuffled_number(study.patient, 10_000_000, 9_999_991, seed)
    number = shuffled_number(study.index, 50_000_000, 9_999_991, seed)
    raw = token(40, "mimic", seed, study.index)
    dicom = "-".join(raw[i : i + 8] for i in range(0, 40, 8))
    folder = out / "files" / f"p{str(subject)[:2]}" / f"p{subject}"
    write_jpeg(folder / f"s{number}" / f"{dicom}.jpg", film.image)
    write_text(folder / f"s{number}.txt", report.text)
    size, bedside = film.image.shape, study.pose.view == "AP"
    procedure = "CHEST (PORTABLE AP)" if bedside else "CHEST (PA AND LAT)"
    metadata = {
        "dicom_id": dicom, "subject_id": subject, "study_id": number,
        "PerformedProcedureStepDescription": procedure,
        "ViewPosition": study.pose.view, "Rows": size[0], "Columns": size[1],
        "StudyDate": 21_500_101 + 10_000 * (study.days // 365) + 100 * (study.days % 365 // 31),
        "StudyTime": f"{(study.index * 7919) % 86400 / 86400 * 240000:.3f}",
        "ProcedureCodeSequence_CodeMeaning": procedure,
        "ViewCodeSequence_CodeMeaning": "antero-posterior" if bedside else "postero-anterior",
        "PatientOrientationCodeSequence_CodeMeaning": "Erect",
    }  # fmt: skip
    split = {"dicom_id": dicom, "study_id": number, "subject_id": subject, "split": _split(subject)}
    labels = {"subject_id": subject, "study_id": number, **_labels(report)}
    record = {
        "subject_id": subject,
        "study_id": number,
        "dicom_id": dicom,
        "path": _path(subject, number, dicom),
    }
    listed = {
        "subject_id": subject,
        "study_id": number,
        "path": f"files/p{str(subject)[:2]}/p{subject}/s{number}.txt",
    }
    return dicom, f"s{number}", {
        "metadata": [metadata], "split": [split], "chexpert": [labels],
        "records": [record], "studies": [listed]
    }  # fmt: skip


def _path(subject: int, study: int, dicom: str) -> str:
    return f"files/p{str(subject)[:2]}/p{subject}/s{study}/{dicom}.dcm"


def _split(subject: int) -> str:
    """Patient-wise split with the same three names; test and validation are larger than in the original."""
    u = int(token(8, "split", subject), 16) % 100
    return "test" if u < 15 else "validate" if u < 22 else "train"


def _labels(report: Report) -> dict[str, float | None]:
    """What a labeller reads from the report; nothing positive or uncertain makes No Finding."""
    row: dict[str, float | None] = dict.fromkeys(sorted(CHEXPERT_LABELS))
    for kind, value in report.labels.items():
        row[spaced(kind)] = float(value)
    if opacity_named(report.mentioned) and 1 in report.labels.values():
        row["Lung Opacity"] = 1.0
    if not any(v for k, v in report.labels.items() if k != "Support_Devices"):
        row["No Finding"] = 1.0
    return row


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write the metadata, split, CheXpert-label and record tables."""
    for name, file in (
        ("metadata", "mimic-cxr-2.0.0-metadata.csv.gz"),
        ("split", "mimic-cxr-2.0.0-split.csv.gz"),
        ("chexpert", "mimic-cxr-2.0.0-chexpert.csv.gz"),
        ("records", "cxr-record-list.csv.gz"),
        ("studies", "cxr-study-list.csv.gz"),
    ):
        frame = pd.DataFrame(rows[name]).sort_values(["subject_id", "study_id"], kind="stable")
        with atomic_path(out / file) as path:
            frame.to_csv(path, index=False, compression={"method": "gzip", "mtime": 0})
