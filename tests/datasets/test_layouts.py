"""What the published forms of these data sets differ in, on trees written by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prior.data.keys import bucket
from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader
from prior.datasets.covid_rural import read_binary_mask
from prior.datasets.covidx import class_by_source, parse_line
from prior.datasets.nih_match import MATCH
from prior.datasets.vindr_cxr import FINDINGS, agreed_boxes
from prior.errors import InputError
from tests.datasets.trees import picture, write_csv, write_dicom, write_image

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient {},View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
UUID = "397fe03a-f56e-4903-8132-8494d0e9f82c"


def nih(root, table="Data_Entry_2017.csv", sex="Gender", folder="images", ages=("058Y", "011M", "414Y")):
    lines = [NIH_HEADER.format(sex)]
    for number, age in enumerate(ages):
        name = f"{number + 1:08d}_000.png"
        write_image(root / folder / name, number, 64, 64)
        lines.append(f"{name},No Finding,0,{number + 1},{age},M,PA,2682,2749,0.143,0.143,")
    (root / table).write_text("\n".join(lines) + "\n")
    return root


def test_nih_ages_in_all_units(tmp_path):
    raw = load_reader("nih_chestxray14").read(nih(tmp_path))
    assert raw.images["age"].tolist()[:2] == [58.0, 11 / 12]
    assert np.isnan(raw.images["age"].iloc[2])
    assert raw.notes["ages_left_out"] == 1
    assert raw.boxes is None
    assert raw.layout == "Data_Entry_2017.csv"


@pytest.mark.parametrize("folder", ["images", "images_001/images", "images_012", "images/images"])
def test_nih_folders_and_the_table_of_2020(folder, tmp_path):
    root = nih(tmp_path, "Data_Entry_2017_v2020.csv", "Sex", folder, ages=("58", "7", "90"))
    raw = load_reader("nih_chestxray14").read(root)
    assert raw.images["age"].tolist() == [58, 7, 90]
    assert raw.images["source"].iloc[0] == f"{folder}/00000001_000.png"
    assert raw.images["patient_id"].tolist() == ["1", "2", "3"]


def test_nih_boxes_are_scaled_to_the_file_and_spelled_as_the_labels(tmp_path):
    root = nih(tmp_path)
    (root / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00000002_000.png,Infiltrate,512.0,256.0,128.0,64.0,,,\n"
        "00009999_000.png,Mass,1.0,2.0,3.0,4.0,,,\n"
    )
    raw = load_reader("nih_chestxray14").read(root)
    assert raw.boxes.to_dict("records") == [
        {
            "image_id": "00000002_000",
            "label": "Infiltration",
            "x_min": 32.0,
            "y_min": 16.0,
            "x_max": 40.0,
            "y_max": 20.0,
        }
    ]
    assert raw.notes["boxes_of_images_not_in_the_table"] == 1


def test_nih_validation_side_is_drawn_from_the_official_training_list(tmp_path):
    root = nih(tmp_path, ages=("50",) * 60)
    names = [f"{number:08d}_000.png" for number in range(1, 61)]
    (root / "train_val_list.txt").write_text("\n".join(names[:40]))
    (root / "test_list.txt").write_text("\n".join(names[40:58]))
    side = load_reader("nih_chestxray14").read(root).images["official_split"]
    assert side[40:58].tolist() == ["test"] * 18
    assert side[58:].isna().all()
    for patient in range(1, 41):
        expected = "validation" if 20 <= bucket(f"nih:{patient}") < 30 else "train"
        assert side[patient - 1] == expected


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("12 a.png COVID-19 cohen", ("12", "a.png", "COVID-19", "cohen")),
        ("12 a.png normal", ("12", "a.png", "normal", None)),
        ("sub S 12 a.png positive bimcv", ("sub S 12", "a.png", "positive", "bimcv")),
        ("sub S12 a.png negative", ("sub S12", "a.png", "negative", None)),
        ("12 normal normal rnsa", ("12", "normal", "normal", "rnsa")),
    ],
)
def test_covidx_lines_are_read_from_the_right(line, fields):
    assert tuple(parse_line(line).values()) == fields


@pytest.mark.parametrize("line", ["", "a.png normal", "12 a.png flu cohen", "a.png normal cohen"])
def test_covidx_lines_without_class_or_patient(line):
    with pytest.raises(ValueError, match="expected patient, file, class"):
        parse_line(line)


def covidx(root, version, words, sides=("train", "test"), rsna=False):
    for side in sides:
        lines = []
        for number in range(20):
            patient = f"{UUID[:-2]}{number:02d}" if rsna and number % 2 else f"{side}{number}"
            write_image(root / side / f"{number}.JPG", number)
            source = "rnsa" if rsna and number % 2 else "cohen"
            lines.append(f"{patient} {number}.jpg {words[number % len(words)]} {source}")
        name = f"{side}_COVIDx{version}.txt" if version else f"{side}.txt"
        (root / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize(
    ("version", "words", "labels"),
    [
        ("6", ("positive", "negative"), ["COVID_19"]),
        ("9B", ("negative", "positive"), ["COVID_19"]),
        ("9A", ("normal", "pneumonia", "COVID-19"), ["Normal", "Pneumonia", "COVID_19"]),
    ],
)
def test_covidx_versions(version, words, labels, tmp_path):
    raw = load_reader("covidx").read(covidx(tmp_path, version, words))
    assert f"list version {version} (not as many as published)" in raw.layout
    assert raw.labels.columns.tolist() == ["image_id", *labels]
    assert raw.patient_family == "covidx"
    covid = raw.labels["COVID_19"].tolist()[: len(words)]
    assert covid == [float(word in ("positive", "COVID-19")) for word in words]
    assert set(raw.images["official_split"]) == {"train", "validation", "test"}


def test_covidx_cxr4_has_its_own_validation_list(tmp_path):
    raw = load_reader("covidx").read(covidx(tmp_path, "", ("positive", "negative"), ("train", "val", "test")))
    assert "list version CXR-4" in raw.layout
    assert raw.images["official_split"].value_counts().to_dict() == {
        "train": 20,
        "validation": 20,
        "test": 20,
    }


def test_covidx_without_a_match_of_rsna_has_no_patient_key(tmp_path):
    root = covidx(tmp_path, "9A", ("normal", "pneumonia"), rsna=True)
    raw = load_reader("covidx").read(root)
    assert raw.patient_family is None
    assert set(raw.images["site"]) == {"rsna", "cohen"}
    assert raw.notes["misspelt_sources"] == {"rnsa": 20}
    manifest = prepare("covidx", root, tmp_path / "out", 16)
    assert set(manifest["splits"]) == {"strict-image", "strict-5fold-image", "official-image"}


def test_covidx_with_a_match_shares_the_key_of_nih(tmp_path):
    root = covidx(tmp_path, "9A", ("normal", "pneumonia"), rsna=True)
    rows = [[f"{UUID[:-2]}{k:02d}", f"{k:08d}_000.png", 2.0 if k != 3 else 40.0] for k in range(1, 20, 2)]
    write_csv(root / MATCH, ["patientId", "nih_image", "error"], rows)
    raw = load_reader("covidx").read(root)
    assert raw.patient_family == "nih"
    assert raw.images.set_index("image_id").loc["train_5.jpg", "patient_id"] == "5"
    assert raw.images.set_index("image_id").loc["train_4.jpg", "patient_id"] == "covidx-train4"
    assert [item["source"] for item in raw.dropped] == ["train/3.JPG", "test/3.JPG"]


def test_source_and_class_by_hand():
    rows = pd.DataFrame(
        {
            "class": ["normal", "normal", "COVID-19", "COVID-19", "COVID-19", "normal"],
            "source": ["rsna", "rnsa", "bimcv", "bimcv", "cohen", "cohen"],
        }
    )
    assert class_by_source(rows) == {
        "images": {"bimcv": {"COVID-19": 2}, "cohen": {"COVID-19": 1, "normal": 1}, "rsna": {"normal": 2}},
        "sources_of_one_class": ["bimcv", "rsna"],
        "accuracy_from_source_alone": 0.8333,
        "accuracy_of_commonest_class": 0.5,
    }


def test_agreed_boxes_by_hand():
    sides = np.array([[0, 0, 10, 10], [0, 0, 10, 12], [50, 50, 60, 60], [0, 2, 10, 12]], dtype=float)
    # the fourth overlaps the first by 80 / 120 and is grouped with it; the third has one reader
    joined = agreed_boxes(sides, np.array(["R1", "R2", "R1", "R1"], dtype=object))
    assert joined.tolist() == [[0, pytest.approx(2 / 3), 10, pytest.approx(34 / 3)]]
    same_reader = agreed_boxes(sides[[0, 1]], np.array(["R1", "R1"], dtype=object))
    assert same_reader.tolist() == sides[[0, 1]].tolist()


def test_vindr_votes_of_three_readers(tmp_path):
    header = ["image_id", "rad_ID", *FINDINGS]
    votes = {"a": (1, 1, 0), "b": (0, 1, 0), "c": (0, 0, 0)}
    rows, marks = [], []
    for image, given in votes.items():
        tags = {"PhotometricInterpretation": "MONOCHROME1", "PatientSex": "M", "PatientAge": "060Y"}
        write_dicom(tmp_path / "train" / f"{image}.DICOM", picture(1).astype(np.uint16) * 16, **tags)
        for reader, vote in enumerate(given):
            rows.append([image, f"R{reader}", *(vote if name == "Nodule/Mass" else 0 for name in FINDINGS)])
            box = [3, 4, 13, 14] if vote else [""] * 4
            marks.append([image, f"R{reader}", "Nodule/Mass" if vote else "No finding", *box])
    write_csv(tmp_path / "annotations/image_labels_train.csv", header, rows)
    sides = ["x_min", "y_min", "x_max", "y_max"]
    write_csv(
        tmp_path / "annotations/annotations_train.csv", ["image_id", "rad_id", "class_name", *sides], marks
    )
    raw = load_reader("vindr_cxr").read(tmp_path)
    assert raw.labels["Nodule_Mass"].tolist() == [1.0, -1.0, 0.0]
    assert raw.labels["Edema"].tolist() == [0.0, 0.0, 0.0]
    assert raw.boxes.values.tolist() == [["a", "Nodule_Mass", 3.0, 4.0, 13.0, 14.0]]
    assert raw.patient_family is None


def test_vindr_as_the_challenge_had_it(tmp_path):
    sides = ["x_min", "y_min", "x_max", "y_max"]
    rows = []
    for image, given in {"a": (2, 1, 0), "b": (0, 0, 0), "c": (0, 1, 0)}.items():
        write_dicom(tmp_path / "train" / f"{image}.dicom", picture(1).astype(np.uint16))
        for reader, boxes in enumerate(given):
            for left in range(boxes):
                rows.append([image, "ILD", 5, f"R{reader}", left, 4, left + 10, 14])
            if not boxes:
                rows.append([image, "No finding", 14, f"R{reader}", "", "", "", ""])
    write_csv(tmp_path / "train.csv", ["image_id", "class_name", "class_id", "rad_id", *sides], rows)
    raw = load_reader("vindr_cxr").read(tmp_path)
    assert len(raw.labels.columns) == 16
    assert raw.labels["ILD"].tolist() == [1.0, 0.0, -1.0]
    assert raw.labels["No_finding"].tolist() == [-1.0, 1.0, 1.0]
    assert raw.boxes.to_numpy().tolist() == [
        ["a", "ILD", pytest.approx(1 / 3), 4.0, pytest.approx(31 / 3), 14.0]
    ]
    assert "official_split" not in raw.images
    rows[0][1] = "Edema"
    write_csv(tmp_path / "train.csv", ["image_id", "class_name", "class_id", "rad_id", *sides], rows)
    with pytest.raises(InputError, match=r"train\.csv, line 2, column 'class_name': 'Edema' is not one of"):
        load_reader("vindr_cxr").read(tmp_path)


def test_rural_masks_of_zero_and_one_or_255(tmp_path):
    values = np.zeros((6, 4), dtype=np.uint8)
    assert _mask(tmp_path, values) is None
    values[1:3, 2] = 1
    one = _mask(tmp_path, values)
    assert one == _mask(tmp_path, values * 255) == _mask(tmp_path, np.stack([values * 255] * 3, axis=2))


def _mask(folder, values):
    Image.fromarray(values).save(folder / "mask.png")
    return read_binary_mask(folder / "mask.png", (6, 4))


def test_tbx11k_unclear_kind_and_an_image_without_boxes(tmp_path):
    files = ["health/h1.png", "sick/s1.png", "tb/tb1.png", "tb/tb2.png", "tb/tb3.png"]
    for number, file in enumerate(files):
        write_image(tmp_path / "imgs" / file, number)
    marks = [
        {"image_id": 2, "category_id": 3, "bbox": [1, 2, 3, 4]},
        {"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4]},
    ]
    names = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis")
    content = {
        "images": [{"id": number, "file_name": file} for number, file in enumerate(files)],
        "annotations": marks,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }
    folder = tmp_path / "annotations" / "json"
    folder.mkdir(parents=True)
    (folder / "TBX11K_train.json").write_text(json.dumps(content))
    (folder / "TBX11K_val.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    raw = load_reader("tbx11k").read(tmp_path)
    values = raw.labels.set_index("image_id").fillna(9).astype(int).to_dict("index")
    names = ("Tuberculosis", "Active_Tuberculosis", "Latent_Tuberculosis", "No_Finding")
    assert {image: tuple(row[name] for name in names) for image, row in values.items()} == {
        "h1": (0, 0, 0, 1),
        "s1": (0, 0, 0, 0),
        "tb1": (1, -1, -1, 0),
        "tb2": (1, 1, 0, 0),
        "tb3": (1, 9, 9, 0),
    }


def test_folder_needs_nothing_but_paths(tmp_path):
    for number in range(12):
        write_image(tmp_path / "raw" / "scans" / f"{number}.PNG", number)
    write_csv(tmp_path / "raw" / "images.csv", [" path "], [[f" scans/{number}.PNG"] for number in range(12)])
    manifest = prepare("folder", tmp_path / "raw", tmp_path / "out", 16)
    assert set(manifest["splits"]) == {"strict-image", "strict-5fold-image"}
    data = PreparedDataset(tmp_path / "out")
    assert data.images["image_id"].iloc[0] == "scans_0"
    assert data.images[["view", "sex", "age", "site"]].isna().all().all()
    assert "reports" not in manifest["tables"]


def test_folder_studies_reports_and_own_split(tmp_path):
    rows = []
    for number in range(8):
        write_image(tmp_path / f"{number}.png", number)
        report = 'FINDINGS:\nClear, "no" effusion.\nIMPRESSION: Normal.\n' if number % 2 == 0 else ""
        row = [f"{number}.png", f"p{number // 4}", f"s{number // 2}", "pa" if number % 2 == 0 else "Lateral"]
        rows.append([*row, "female", "61", report, ("train", "test")[number // 4], "-1", "1.0"])
    header = [
        "path",
        "patient_id",
        "study_id",
        "view",
        "sex",
        "age",
        "report",
        "split",
        "Lung Opacity",
        "Edema",
    ]
    write_csv(tmp_path / "images.csv", header, rows)
    raw = load_reader("folder").read(tmp_path)
    assert raw.reports["study_id"].tolist() == ["s0", "s1", "s2", "s3"]
    assert set(raw.images["view"]) == {"PA", "LATERAL"}
    assert set(raw.images["sex"]) == {"F"}
    assert raw.images["study_order"].tolist() == [0, 0, 1, 1] * 2
    assert set(raw.labels["Lung_Opacity"]) == {-1.0}
    manifest = prepare("folder", tmp_path, tmp_path / "out", 16, presets=("official",))
    assert manifest["splits"]["official"]["test"]["images"] == 2
    assert manifest["counts"]["reports"] == 4
