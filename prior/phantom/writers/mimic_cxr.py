"""MIMIC-CXR-JPG 2.0.0: image tree, reports, metadata, split and label tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.files import atomic_path, write_text
from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.lateral import lateral_of
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
VIEW_NAMES = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral"}


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write a study's images and report; return frontal dicom id, study id (`s` + number) and table rows."""
    if report is None:
        raise ValueError("MIMIC-CXR studies have a report")
    subject = shuffled_number(study.patient, 10_000_000, 9_999_991, seed)
    number = shuffled_number(study.index, 50_000_000, 9_999_991, seed)
    folder = out / "files" / f"p{str(subject)[:2]}" / f"p{subject}"
    write_text(folder / f"s{number}.txt", report.text)
    procedure = "CHEST (PORTABLE AP)" if study.pose.view == "AP" else "CHEST (PA AND LAT)"
    ids = {"subject_id": subject, "study_id": number}
    rows: Rows = {"metadata": [], "split": [], "records": []}
    films = films_of(study, film, seed)
    for dicom, view, image in films:
        write_jpeg(folder / f"s{number}" / f"{dicom}.jpg", image)
        rows["metadata"].append({
            "dicom_id": dicom, **ids, "PerformedProcedureStepDescription": procedure,
            "ViewPosition": view, "Rows": image.shape[0], "Columns": image.shape[1],
            "StudyDate": 21_500_101 + 10_000 * (study.days // 365) + 100 * (study.days % 365 // 31),
            "StudyTime": f"{(study.index * 7919) % 86400 / 86400 * 240000:.3f}",
            "ProcedureCodeSequence_CodeMeaning": procedure,
            "ViewCodeSequence_CodeMeaning": VIEW_NAMES[view],
            "PatientOrientationCodeSequence_CodeMeaning": "Erect",
        })  # fmt: skip
        rows["split"].append(
            {"dicom_id": dicom, "study_id": number, "subject_id": subject, "split": _split(subject)}
        )
        rows["records"].append(ids | {"dicom_id": dicom, "path": _path(subject, number, dicom)})
    rows["chexpert"] = [{**ids, **_labels(report)}]
    rows["studies"] = [ids | {"path": f"files/p{str(subject)[:2]}/p{subject}/s{number}.txt"}]
    return films[0][0], f"s{number}", rows


def films_of(study: Study, film: Film, seed: int) -> list[tuple[str, str, NDArray[np.uint8]]]:
    """Dicom id, view and image [H, W] of a study's films: the frontal one and, for some, a lateral one."""
    lateral = lateral_of(study, "mimic_cxr", film.image.shape[0], seed)
    films = [(_dicom_id("mimic", seed, study.index), study.pose.view, film.image)]
    if lateral is not None:
        films.append((_dicom_id("mimic lateral", seed, study.index), "LATERAL", lateral))
    return films


def _dicom_id(*key: object) -> str:
    raw = token(40, *key)
    return "-".join(raw[i : i + 8] for i in range(0, 40, 8))


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
