"""VinDr-CXR 1.0.0: 12-bit DICOM (one in four MONOCHROME1), three readers in training, a consensus in test.

Readers of the training films overlook faint findings now and then and place their boxes a pixel apart.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from prior.data.files import atomic_path
from prior.phantom.archives import Rows
from prior.phantom.film import Film
from prior.phantom.findings import Finding
from prior.phantom.hospital import Study, generator
from prior.phantom.report import Report
from prior.phantom.writers.boxes import SIDES, bounds
from prior.phantom.writers.common import token

HOSPITAL, STREAM, REPORTS = "mimic_cxr", 12, False
LOCAL = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture",
    "Consolidation", "Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity",
    "Lung cavity", "Lung cyst", "Mediastinal shift", "Nodule/Mass", "Pleural effusion",
    "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture", "Other lesion",
)  # fmt: skip
GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis")
READERS = 3


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one DICOM file; return its name as image and study id, and the rows of its readers."""
    name = token(32, "vindr", seed, study.index)
    side = "test" if int(token(8, "vindr list", seed, study.index), 16) % 6 == 0 else "train"
    _write_dicom(out / side / f"{name}.dicom", film.image, name, study)
    rng = generator(seed + STREAM, HOSPITAL, 3, study.index)
    stated = {vindr_name(finding): finding for finding in study.findings if vindr_name(finding)}
    labels: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for reader in range(READERS if side == "train" else 1):
        key = {"image_id": name, **({"rad_id": f"R{reader + 1}"} if side == "train" else {})}
        faint = side == "train" and reader == 2
        seen = [text for text, finding in stated.items() if not (faint and finding.severity < 0.3)]
        spelled = "Other diseases" if side == "train" else "Other disease"
        columns = (*LOCAL, *GLOBAL, spelled, "No finding")
        row = {text: int(text in seen) for text in columns} | {"No finding": int(not seen)}
        labels.append({**key, **row})
        shift = int(rng.integers(0, 2)) if side == "train" else 0
        found = [
            {**key, "class_name": vindr_name(finding), **_box(region.mask, shift)}
            for finding in study.findings
            if vindr_name(finding) in seen and vindr_name(finding) in LOCAL
            for region in film.regions
            if region.label == finding.kind and region.mask.any()
        ]
        boxes += found or [{**key, "class_name": "No finding", **dict.fromkeys(SIDES)}]
    return name, name, {f"labels_{side}": labels, f"boxes_{side}": boxes}


def vindr_name(finding: Finding) -> str:
    """VinDr's word for a finding, empty if it has none."""
    if finding.kind == "Fracture":
        return "Clavicle fracture" if finding.variant == "clavicle" else "Rib fracture"
    words = {
        "Pleural_Effusion": "Pleural effusion", "Lung_Lesion": "Nodule/Mass", "Support_Devices": "",
        "Enlarged_Cardiomediastinum": "", "Pleural_Other": "Pleural thickening",
        "Lung_Opacity": "Lung Opacity",
    }  # fmt: skip
    return words.get(finding.kind, finding.kind)


def _box(mask: NDArray[np.bool_], shift: int) -> dict[str, int]:
    """The box around a mask, its right side `shift` pixels off."""
    box = dict(zip(SIDES, bounds(mask), strict=True))
    return box | {"x_max": box["x_max"] + shift}


def _write_dicom(path: Path, image: NDArray[np.uint8], name: str, study: Study) -> None:
    """Write 12 bits in 16, uncompressed, inverted as MONOCHROME1 for one film in four."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"2.25.{int(name[:24], 16)}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.PatientSex, data.PatientAge = study.body.sex, f"{study.body.age:03d}Y"
    inverted = study.index % 4 == 3
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    data.Rows, data.Columns = image.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    stored = np.rint(image / 255.0 * 4095).astype("<u2")
    data.WindowCenter, data.WindowWidth = "2047.5", "4096"
    data.PixelData = (4095 - stored if inverted else stored).astype("<u2").tobytes()
    with atomic_path(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write the label and box tables of both sides."""
    for side in ("train", "test"):
        for table, file in (("labels", "image_labels"), ("boxes", "annotations")):
            if rows.get(f"{table}_{side}"):
                with atomic_path(out / "annotations" / f"{file}_{side}.csv") as path:
                    pd.DataFrame(rows[f"{table}_{side}"]).to_csv(path, index=False)
