import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco

from prior.data.prepare import prepare
from prior.datasets import READERS, load_reader
from prior.datasets.chexpert import FINDINGS, FIVE, select_5x200
from prior.datasets.object_cxr import bounds, parse_annotation, shape_to_rle
from prior.datasets.siim import relative_to_coco
from prior.errors import InputError
from tests.datasets import trees


def decode(rle, height, width):
    return coco.decode({"size": [height, width], "counts": rle.encode()})


def test_mimic(tmp_path):
    raw = load_reader("mimic_cxr").read(trees.mimic_cxr(tmp_path))
    assert len(raw.images) == 80
    assert set(raw.images["view"]) == {"PA", "LATERAL"}
    assert set(raw.images["official_split"]) == {"train", "validation", "test"}
    assert len(raw.reports) == 39
    assert raw.dropped[0]["reason"] == "study without report file"
    assert "Pleural_Effusion" in raw.labels
    assert set(raw.labels["Fracture"]) == {0.0, -1.0}
    assert raw.patient_family == "mimic"


def test_chexpert(tmp_path):
    raw = load_reader("chexpert").read(trees.chexpert(tmp_path))
    assert len(raw.images) == 64
    assert raw.images["study_id"].iloc[0] == "patient00000_study1"
    assert set(raw.images["sex"]) == {"M"}
    assert raw.strict_pool == "train"


def test_5x200_follows_the_rule_of_gloria():
    names = [name.replace(" ", "_") for name in FINDINGS]
    rows = pd.DataFrame(np.nan, index=range(6), columns=names)
    rows["Edema"] = 1.0
    rows.loc[1, "Fracture"] = -1.0
    rows.loc[2, "Pneumonia"] = 1.0
    rows.loc[3, "Atelectasis"] = 0.0
    rows.loc[4, "No_Finding"] = -1.0
    rows.insert(0, "image_id", [f"i{k}" for k in range(6)])
    chosen = select_5x200(rows, pd.Series(["i0", "i1", "i2", "i3", "i4"]))
    assert set(chosen["image_id"]) == {"i0", "i3", "i4"}
    assert set(chosen["class"]) == {"Edema"}


def test_5x200_takes_at_most_200_of_a_class_and_repeats():
    names = [name.replace(" ", "_") for name in FINDINGS]
    rows = pd.DataFrame(0.0, index=range(900), columns=names)
    for k in range(900):
        rows.loc[k, FIVE[k % 3]] = 1.0
    rows.insert(0, "image_id", [f"i{k}" for k in range(900)])
    chosen = select_5x200(rows, rows["image_id"])
    assert chosen["class"].value_counts().to_dict() == dict.fromkeys(FIVE[:3], 200)
    assert chosen.equals(select_5x200(rows.sample(frac=1, random_state=1), rows["image_id"]))


def test_rsna_patients_come_from_the_match(tmp_path):
    raw = load_reader("rsna").read(trees.rsna(tmp_path))
    assert raw.patient_family == "nih"
    assert len(raw.images) == 29
    assert raw.dropped[0]["reason"].startswith("no reliable match")
    assert raw.images.set_index("image_id").loc["image0003", "patient_id"] == "2"
    assert raw.boxes.groupby("image_id").size().max() == 2


def test_rsna_without_match_has_no_patient_key(tmp_path):
    raw = load_reader("rsna").read(trees.rsna(tmp_path, mapping=False))
    assert raw.patient_family is None
    assert "without patient key" in raw.layout


def test_rsna_official_mapping(tmp_path):
    root = trees.rsna(tmp_path, images=3, mapping=False)
    path = root / "pneumonia-challenge-dataset-mappings_2018.json"
    path.write_text('[{"subset_img_id": "image0000", "img_id": "00000061_012.png"}]')
    raw = load_reader("rsna").read(root)
    assert raw.images["patient_id"].tolist() == ["61"]
    path.write_text('[{"img_id": "00000061_012.png"}]')
    with pytest.raises(InputError, match="subset_img_id"):
        load_reader("rsna").read(root)


def test_siim_blanks_sentinel_and_several_rows(tmp_path):
    raw = load_reader("siim").read(trees.siim(tmp_path))
    assert raw.labels["Pneumothorax"].sum() == 6
    assert len(raw.masks) == 12
    assert raw.patient_family is None


def test_relative_runs_go_down_the_columns():
    mask = decode(relative_to_coco("3 2 1 4", 5, 4), 5, 4)
    flat = np.zeros(20, dtype=np.uint8)
    flat[3:5] = 1
    flat[6:10] = 1
    assert (mask == flat.reshape(4, 5).T).all()


@pytest.mark.parametrize(
    ("text", "message"), [("3 2 1", "pairs"), ("a b", "whole numbers"), ("0 21", "fewer")]
)
def test_wrong_runs(text, message):
    with pytest.raises(ValueError, match=message):
        relative_to_coco(text, 5, 4)


def test_object_cxr_reads_all_three_types(tmp_path):
    raw = load_reader("object_cxr").read(trees.object_cxr(tmp_path))
    assert raw.labels["Foreign_Object"].mean() == 0.5
    assert raw.boxes.groupby("image_id").size().unique().tolist() == [3]
    assert raw.boxes.iloc[2][["x_min", "y_min", "x_max", "y_max"]].tolist() == [5, 40, 15, 50]


def test_shapes_fill_what_they_bound():
    shapes = parse_annotation("0 2 3 12 9;1 0 0 20 10;2 0 0 10 0 0 10")
    areas = [decode(shape_to_rle(shape, 30, 40), 30, 40).sum() for shape in shapes]
    assert bounds(shapes[0]) == (2, 3, 12, 9)
    assert areas[0] == 60
    assert areas[1] == pytest.approx(np.pi * 50, rel=0.1)
    assert areas[2] == pytest.approx(50, rel=0.15)


@pytest.mark.parametrize("text", ["3 1 2 3 4", "0 1 2 3", "2 1 2 3 4", "0 5 5 5 9", "0 a 2 3 4"])
def test_wrong_annotations(text):
    with pytest.raises(ValueError, match=text[:5]):
        parse_annotation(text)


@pytest.mark.parametrize("name", READERS)
def test_a_missing_folder_is_named_with_the_remedy(name, tmp_path):
    with pytest.raises(InputError, match=rf"{tmp_path}.*(put|copy)"):
        load_reader(name).read(tmp_path / "nothing")


def edit(path, **changes):
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column, value in changes.items():
        table.loc[1, column] = value
    table.to_csv(path, index=False)


@pytest.mark.parametrize(
    ("name", "file", "changes", "message"),
    [
        (
            "mimic_cxr",
            "mimic-cxr-2.0.0-chexpert.csv",
            {"Edema": "2"},
            r"chexpert\.csv, line 3, column 'Edema': '2'",
        ),
        ("mimic_cxr", "mimic-cxr-2.0.0-split.csv", {"split": "dev"}, r"line 3, column 'split': 'dev'"),
        ("mimic_cxr", "mimic-cxr-2.0.0-metadata.csv", {"dicom_id": "d000-0"}, "no earlier row"),
        ("mimic_cxr", "mimic-cxr-2.0.0-metadata.csv", {"dicom_id": "ghost"}, r"ghost\.jpg is listed but"),
        ("chexpert", "CheXpert-v1.0-small/train.csv", {"Fracture": "yes"}, "'yes' is not a number"),
        ("chexpert", "CheXpert-v1.0-small/train.csv", {"Path": "x.jpg"}, "line 3, column 'Path'"),
        ("rsna", "stage_2_train_labels.csv", {"Target": "3"}, "line 3, column 'Target': '3'"),
        ("rsna", "stage_2_train_labels.csv", {"x": "90", "width": "-5"}, r"line 3: the box .* is empty"),
        ("siim", "train-rle.csv", {"ImageId": "ghost"}, r"ghost\.dcm"),
        ("siim", "train-rle.csv", {" EncodedPixels": "1 2 3"}, "line 3, column 'EncodedPixels'"),
        ("object_cxr", "train.csv", {"annotation": "9 1 1 2 2"}, "line 3, column 'annotation': .* type 9"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path, name, file, changes, message):
    root = getattr(trees, name)(tmp_path)
    edit(root / file, **changes)
    with pytest.raises(InputError, match=message):
        prepare(name, root, tmp_path / "out", 16)


@pytest.mark.parametrize(
    ("name", "file", "column"),
    [
        ("mimic_cxr", "mimic-cxr-2.0.0-metadata.csv", "ViewPosition"),
        ("chexpert", "CheXpert-v1.0-small/train.csv", "Edema"),
        ("rsna", "stage_2_train_labels.csv", "Target"),
        ("object_cxr", "train.csv", "annotation"),
    ],
)
def test_a_wrong_column_is_named(tmp_path, name, file, column):
    root = getattr(trees, name)(tmp_path)
    pd.read_csv(root / file, dtype=str).rename(columns={column: "typo"}).to_csv(root / file, index=False)
    with pytest.raises(InputError, match=rf"no column '{column}'.*typo"):
        load_reader(name).read(root)
