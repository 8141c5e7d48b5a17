"""Oddities of the released tables that a reader must take as they are."""

import gzip
import json

import numpy as np
import pandas as pd

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader, published_lists
from prior.datasets.chexpert import FINDINGS
from tests.datasets import trees
from tests.datasets.archives import archive
from tests.datasets.damage import unpack

META = "mimic-cxr-2.0.0-metadata.csv"


def test_views_of_mimic(tmp_path):
    root = trees.mimic_cxr(tmp_path / "raw")
    table = pd.read_csv(root / META, dtype=str)
    written = ["AP", "PA", "LL", "LATERAL", "", "AP AXIAL", "SWIMMERS", "lateral"]
    table.loc[: len(written) - 1, "ViewPosition"] = written
    table.to_csv(root / META, index=False)
    prepare("mimic_cxr", root, tmp_path / "out", 16)
    data = PreparedDataset(tmp_path / "out")
    views = data.images.set_index("image_id").loc[table["dicom_id"][: len(written)], "view"]
    assert views.tolist() == ["AP", "PA", "LATERAL", "LATERAL", "OTHER", "OTHER", "OTHER", "OTHER"]
    assert not set(views.index[2:]) & set(data.split("strict", 0)["image_id"])


def test_labels_of_chexpert_are_found_by_name(tmp_path):
    root = trees.chexpert(tmp_path)
    expected = load_reader("chexpert").read(root).labels
    for name in ("train.csv", "valid.csv"):
        path = root / "CheXpert-v1.0-small" / name
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table[[*table.columns[:5], *reversed(FINDINGS)]].to_csv(path, index=False)
    assert load_reader("chexpert").read(root).labels.equals(expected)


def test_facts_of_chexpert_that_are_not_known(tmp_path):
    root = trees.chexpert(tmp_path)
    path = root / "CheXpert-v1.0-small" / "train.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    facts = pd.DataFrame(
        {
            "Sex": ["Unknown", "Female", "Male", "Male"],
            "Age": ["0", "90", "", "50"],
            "Frontal/Lateral": ["Frontal", "Frontal", "Lateral", "Frontal"],
            "AP/PA": ["AP", "LL", "", "PA"],
        }
    )
    table.loc[:3, facts.columns] = facts
    table.to_csv(path, index=False)
    images = load_reader("chexpert").read(root).images.head(4)
    assert images["sex"].fillna("?").tolist() == ["?", "F", "M", "M"]
    assert images["age"].fillna(-1).tolist() == [0, 90, -1, 50]
    assert images["view"].fillna("?").tolist() == ["AP", "?", "LATERAL", "PA"]


def test_a_compressed_table_of_siim_is_recognised_by_its_content(tmp_path, monkeypatch):
    root = trees.siim(tmp_path)
    path = root / "train-rle.csv"
    plain = load_reader("siim").read(root)
    start = published_lists.sha256_start(path)
    monkeypatch.setitem(published_lists.KNOWN, start, ("the table", "siim", "all"))
    (root / "train-rle.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    raw = load_reader("siim").read(root)
    assert raw.notes == {"train-rle.csv.gz": f"the table, all (sha256 {start})"}
    assert raw.masks.equals(plain.masks)


def test_a_folder_within_the_raw_folder_is_found(tmp_path):
    root = archive("folder", tmp_path)
    (tmp_path / "download" / "__MACOSX").mkdir(parents=True)
    root.rename(tmp_path / "download" / "ours")
    found, plain = (load_reader("folder").read(tree) for tree in (tmp_path / "download", archive("folder")))
    assert found.root == tmp_path / "download" / "ours"
    assert found.images.equals(plain.images)
    assert found.boxes.equals(plain.boxes)


def test_patients_of_covidx_may_be_mapped_by_rsna(tmp_path):
    root = archive("covidx", tmp_path)
    match = pd.read_csv(root / "nih_patient_map.csv", dtype=str)
    by_match = load_reader("covidx").read(root)
    (root / "nih_patient_map.csv").unlink()
    sure = match[match["error"].astype(float) <= 10]
    rows = [
        {"subset_img_id": name, "img_id": image}
        for name, image in zip(sure["patientId"], sure["nih_image"], strict=True)
    ]
    (root / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(rows))
    by_map = load_reader("covidx").read(root)
    assert by_map.images["patient_id"].equals(by_match.images["patient_id"])
    assert by_map.layout.endswith("with RSNA's mapping to NIH")


def test_ids_of_the_dicom_release_in_floats_name_the_same_files(tmp_path):
    root = archive("mimic_cxr_dicom", tmp_path)
    plain = load_reader("mimic_cxr_dicom").read(root).images
    unpack("cxr-record-list.csv")(root)
    table = pd.read_csv(root / "cxr-record-list.csv")
    for column in ("subject_id", "study_id"):
        table[column] = table[column].astype(np.float64)
    table.to_csv(root / "cxr-record-list.csv", index=False)
    assert load_reader("mimic_cxr_dicom").read(root).images.equals(plain)
