"""Every table of every reader: without one of its columns, in another encoding, empty, or cut off."""

from pathlib import Path

import pytest

from tests.datasets.archives import archive
from tests.datasets.damage import (
    cell,
    check,
    column,
    latin1,
    no_csv,
    refused,
    unpack,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR AS"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
]
CHEX, MATCH = "CheXpert-v1.0-small", "nih_patient_map.csv"
NIH, PNG, VINDR = "nih_chestxray14", "siim-acr-pneumothorax", "annotations"
MIMIC = "mimic-cxr-2.0.0"
TABLES = [
    ("mimic_cxr", f"{MIMIC}-metadata.csv", "StudyDate"),
    ("mimic_cxr", f"{MIMIC}-split.csv", "split"),
    ("mimic_cxr", f"{MIMIC}-chexpert.csv", "Pleural Other"),
    ("mimic_cxr_dicom", "cxr-record-list.csv", "path"),
    ("ms_cxr", "MS_CXR_Local_Alignment_v1.1.0.csv", "image_width"),
    ("ms_cxr", f"{MIMIC}-metadata.csv", "ViewPosition"),
    ("ms_cxr", f"{MIMIC}-split.csv", "split"),
    ("iu_xray", "indiana_reports.csv", "MeSH"),
    ("iu_xray", "indiana_projections.csv", "projection"),
    ("chexpert", f"{CHEX}/valid.csv", "Support Devices"),
    ("chexpert_plus", "df_chexpert_plus_240401.csv", "report"),
    ("rsna", "stage_2_train_labels.csv", "height"),
    ("rsna", MATCH, "error"),
    ("siim", "train-rle.csv", " EncodedPixels"),
    ("siim", MATCH, "ImageId"),
    ("siim:stage_2", "stage_2_train.csv", "EncodedPixels"),
    ("siim:png", f"{PNG}/stage_1_train_images.csv", "has_pneumo"),
    ("siim:png", f"{PNG}/stage_1_test_images.csv", "new_filename"),
    ("object_cxr", "dev.csv", "annotation"),
    ("chestx_det_release", MATCH, "file_name"),
    ("covidx", MATCH, "nih_image"),
    ("nih_small", f"{NIH}/labels.csv", "Hernia"),
    ("nih_small", f"{NIH}/boxes.csv", "source"),
    ("lesion_boxes", f"{NIH}/boxes.csv", "x"),
    ("chestx_det", f"{NIH}/boxes.csv", "h"),
    ("chestx_det", f"{NIH}/masks.csv", "mask"),
    ("kermany", "kermany_pneumonia/labels.csv", "patient_id"),
    ("kermany_lungs", "kermany_pneumonia/labels.csv", "lung_mask"),
    ("nih_chestxray14", "Data_Entry_2017.csv", "Follow-up #"),
    ("nih_chestxray14", "BBox_List_2017.csv", "Bbox [x"),
    ("nih_boxes", "Data_Entry_2017.csv", "Finding Labels"),
    ("nih_boxes", "BBox_List_2017.csv", "h]"),
    ("vindr_cxr", f"{VINDR}/annotations_train.csv", "rad_id"),
    ("vindr_cxr", f"{VINDR}/annotations_test.csv", "y_max"),
    ("vindr_cxr", f"{VINDR}/image_labels_test.csv", "image_id"),
    ("folder", "images.csv", "path"),
    ("folder", "boxes.csv", "label"),
]


@pytest.mark.parametrize(("key", "file", "name"), TABLES)
def test_a_damaged_table_is_named(key: str, file: str, name: str, tmp_path: Path) -> None:
    root, reader = archive(key, tmp_path), key.split(":")[0]
    path, out = root / file, tmp_path / "out"
    if not path.is_file():
        unpack(file)(root)
    whole = path.read_bytes()

    cell(file, name, "typo", line=1)(root)
    check(refused(reader, root, out).replace(f"/{PNG}/{PNG}/", f"/{PNG}/"), column(file, name.strip()))
    path.write_bytes(whole)
    latin1(file)(root)
    check(refused(reader, root, out), no_csv(file))
    path.write_bytes(b"")
    check(refused(reader, root, out), no_csv(file).replace("*", "No columns to parse from file"))
    path.write_bytes(whole.splitlines(keepends=True)[0])
    check(refused(reader, root, out), f"ROOT/{file} has no rows; replace the file")
    path.write_bytes(whole.rstrip() + b"\r\nx")
    check(refused(reader, root, out), no_csv(file).replace("*", "it ends within a row"))
    assert not out.exists()
