"""Tiny raw folders in the real formats, written by hand so that readers are tested without the phantom."""

import csv
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from prior.datasets.chexpert import FINDINGS as CHEXPERT
from prior.datasets.mimic_cxr import FINDINGS as MIMIC


def picture(seed, height=40, width=32):
    return np.random.default_rng(seed).integers(0, 255, (height, width)).astype(np.uint8)


def write_image(path: Path, seed: int, height=40, width=32):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, height, width)).save(path)


def write_csv(path: Path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def write_dicom(path: Path, pixels, **tags):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.stem])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bits = pixels.dtype.itemsize * 8
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    data.PhotometricInterpretation = tags.pop("PhotometricInterpretation", "MONOCHROME2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RSNA writes ages without a unit
        for name, value in tags.items():
            setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)


def mimic_cxr(root: Path, patients=40):
    metadata, split, labels = [], [], []
    for i in range(patients):
        subject, study = str(10000000 + i), str(50000000 + i)
        folder = root / "files" / f"p{subject[:2]}" / f"p{subject}"
        for j, view in enumerate(("PA", "LATERAL")):
            dicom = f"d{i:03d}-{j}"
            write_image(folder / f"s{study}" / f"{dicom}.jpg", 2 * i + j)
            metadata.append([dicom, subject, study, view, 40, 32, "21800101", f"{i}.5"])
            split.append([dicom, study, subject, ("train", "validate", "test")[i % 3]])
        if i:
            text = f"FINAL REPORT\n FINDINGS:\n The heart is number {i}.\n\n IMPRESSION:\n No change.\n"
            (folder / f"s{study}.txt").write_text(text)
        values = [""] * len(MIMIC)
        values[i % 3] = "1.0"
        values[5] = "-1.0" if i % 2 else "0.0"
        labels.append([subject, study, *values])
    prefix = "mimic-cxr-2.0.0"
    header = [
        "dicom_id",
        "subject_id",
        "study_id",
        "ViewPosition",
        "Rows",
        "Columns",
        "StudyDate",
        "StudyTime",
    ]
    write_csv(root / f"{prefix}-metadata.csv", header, metadata)
    write_csv(root / f"{prefix}-split.csv", ["dicom_id", "study_id", "subject_id", "split"], split)
    write_csv(root / f"{prefix}-chexpert.csv", ["subject_id", "study_id", *MIMIC], labels)
    return root


def chexpert(root: Path, patients=60):
    header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT]
    folder = root / "CheXpert-v1.0-small"
    for name, count, first in (("train", patients, 0), ("valid", 4, patients)):
        rows = []
        for i in range(first, first + count):
            file = f"{name}/patient{i:05d}/study1/view1_frontal.jpg"
            write_image(folder / file, 1000 + i)
            values = ["0.0"] * len(CHEXPERT)
            values[CHEXPERT.index("Edema" if i % 2 else "Cardiomegaly")] = "1.0"
            values[CHEXPERT.index("Support Devices")] = "-1.0" if i % 5 == 0 else ""
            rows.append([f"CheXpert-v1.0-small/{file}", "Male", 50, "Frontal", "AP", *values])
        write_csv(folder / f"{name}.csv", header, rows)
    return root


def rsna(root: Path, images=30, mapping=True):
    rows = []
    for i in range(images):
        name = f"image{i:04d}"
        tags = {"ViewPosition": "AP", "PatientSex": "F", "PatientAge": "051"}
        write_dicom(root / "stage_2_train_images" / f"{name}.dcm", picture(i, 48, 48), **tags)
        if i % 3:
            rows.append([name, "", "", "", "", 0])
        else:
            rows += [[name, 4.0, 6.0, 10.0, 12.0, 1], [name, 30.0, 30.0, 30.0, 10.0, 1]]
    write_csv(root / "stage_2_train_labels.csv", ["patientId", "x", "y", "width", "height", "Target"], rows)
    if mapping:
        matched = [
            [f"image{i:04d}", f"{i // 2 + 1:08d}_{i:03d}.png", 2.0 if i else 50.0] for i in range(images)
        ]
        write_csv(root / "nih_patient_map.csv", ["patientId", "nih_image", "error"], matched)
    return root


def siim(root: Path, images=12):
    rows = []
    for i in range(images):
        name = f"1.2.276.{i}"
        write_dicom(root / "dicom-images-train" / f"a{i}" / f"b{i}" / f"{name}.dcm", picture(i, 48, 48))
        rows += [[name, " -1"]] if i % 2 else [[name, " 10 5 43 6"], [name, " 480 48"]]
    write_csv(root / "train-rle.csv", ["ImageId", " EncodedPixels"], rows)
    return root


def object_cxr(root: Path, images=10):
    for name in ("train", "dev"):
        rows = []
        for i in range(images):
            write_image(root / name / f"{i:05d}.jpg", i, 60, 50)
            shapes = "0 5 6 20 16;1 20 20 40 30;2 5 40 15 40 10 50"
            rows.append([f"{i:05d}.jpg", shapes if i % 2 else ""])
        write_csv(root / f"{name}.csv", ["image_name", "annotation"], rows)
    return root
