"""MIMIC-CXR as DICOM: 12-bit films with a window, some MONOCHROME1; reports apart; record and study lists.

The ids and reports are those of the MIMIC-CXR-JPG writer with the same seed. As in the release there is no
table of labels, split or views.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from prior.data.files import atomic_path, write_text
from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.common import shuffled_number
from prior.phantom.writers.mimic_cxr import films_of

Rows = dict[str, list[dict[str, Any]]]
HOSPITAL, STREAM, REPORTS = "mimic_cxr", 0, True
BITS, LOW = 12, 300
TEXTS = "mimic-cxr-reports"


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write a study's DICOM files and report; return frontal dicom id, study id and rows of both lists."""
    if report is None:
        raise ValueError("MIMIC-CXR studies have a report")
    subject = shuffled_number(study.patient, 10_000_000, 9_999_991, seed)
    number = shuffled_number(study.index, 50_000_000, 9_999_991, seed)
    folder = f"files/p{str(subject)[:2]}/p{subject}"
    text = f"{folder}/s{number}.txt"
    write_text(out / TEXTS / text, report.text)
    ids = {"subject_id": subject, "study_id": number}
    records = []
    films = films_of(study, film, seed)
    for dicom, view, image in films:
        source = f"{folder}/s{number}/{dicom}.dcm"
        _write_film(out / source, image, view, study.index, str(subject))
        records.append(ids | {"dicom_id": dicom, "path": source})
    return films[0][0], f"s{number}", {"records": records, "studies": [ids | {"path": text}]}


def _write_film(path: Path, image: NDArray[np.uint8], view: str, index: int, patient: str) -> None:
    """Write a film [H, W] as 12 of 16 bits with its window; every third study is dark where it is dense."""
    inverted = index % 3 == 2
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    part = 5 if view == "LATERAL" else 4
    meta.MediaStorageSOPInstanceUID = UID(f"1.2.276.0.7230010.3.1.{part}.{index + 1}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.BodyPartExamined, data.ViewPosition, data.PatientID = "DX", "CHEST", view, patient
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.Rows, data.Columns = image.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, BITS, BITS - 1
    data.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    shown = LOW + image.astype(np.uint16) * 8
    data.WindowCenter, data.WindowWidth = str(LOW + 1020), "2040"
    data.PixelData = (2 * LOW + 2040 - shown if inverted else shown).astype(np.uint16).tobytes()
    with atomic_path(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write the lists of records and studies."""
    for name, file in (("records", "cxr-record-list.csv.gz"), ("studies", "cxr-study-list.csv.gz")):
        frame = pd.DataFrame(rows[name]).sort_values(["subject_id", "study_id"], kind="stable")
        with atomic_path(out / file) as path:
            frame.to_csv(path, index=False, compression={"method": "gzip", "mtime": 0})
