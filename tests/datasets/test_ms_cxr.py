import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader
from prior.phantom.archives import simulate_archive
from prior.phantom.writers.ms_cxr import CATEGORIES
from tests.datasets.simulated import cases, refusal, rewrite

COUNT, SEED, SIZE = 40, 2, 64
CSV, JSON = "MS_CXR_Local_Alignment_v1.1.0.csv", "MS_CXR_Local_Alignment_v1.1.0.json"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw") / "ms_cxr"
    simulate_archive("ms_cxr", root, COUNT, SEED, SIZE, 1)
    return root


@pytest.fixture
def root(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "raw")


def union(boxes):
    """The pixels that boxes cover, [SIZE, SIZE]."""
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    for box in boxes.itertuples():
        mask[int(box.y_min) : int(box.y_max), int(box.x_min) : int(box.x_max)] = True
    return mask


def test_every_asserted_sentence_has_the_boxes_of_what_is_seen(raw):
    data = load_reader("ms_cxr").read(raw)
    metadata = pd.read_csv(raw / "mimic-cxr-2.0.0-metadata.csv.gz")
    metadata = metadata[metadata["ViewPosition"] != "LATERAL"]
    texts = {path.stem: path.read_text() for path in raw.glob("files/*/*/*.txt")}
    owners = {f"s{row.study_id}": row.dicom_id for row in metadata.itertuples()}
    by_text = {text: owners[study] for study, text in texts.items()}
    expected, found = {}, {}
    for _, film, report in cases("mimic_cxr", COUNT, SEED, SIZE):
        for sentence in report.sentences:
            for code in sentence.meaning:
                kind, value, side = code.split("|")[:3]
                if value != "1" or kind.replace("_", " ") not in CATEGORIES:
                    continue
                seen = [r for r in film.regions if r.label == kind and side in ("", "bilateral", r.side)]
                if any(region.mask.any() for region in seen):
                    key = (by_text[report.text], sentence.text)
                    boxes = [(np.flatnonzero(r.mask.any(0)), np.flatnonzero(r.mask.any(1))) for r in seen]
                    mask = expected.setdefault(key, np.zeros((SIZE, SIZE), dtype=bool))
                    for columns, rows in boxes:
                        if len(columns):
                            mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    for key, boxes in data.boxes.groupby(["image_id", "label"]):
        found[key] = union(boxes)
    assert set(found) == set(expected)
    assert len(found) > 10
    assert all((found[key] == expected[key]).all() for key in found)
    assert data.boxes.groupby(["image_id", "label"]).size().max() > 1


def test_ids_and_patient_keys_are_those_of_mimic(raw):
    phrases, reports = load_reader("ms_cxr").read(raw), load_reader("mimic_cxr").read(raw)
    columns = ["image_id", "study_id", "patient_id", "source", "view"]
    joined = phrases.images[columns].merge(reports.images[columns], how="left", indicator=True)
    assert (joined["_merge"] == "both").all()
    assert phrases.patient_family == reports.patient_family
    sides = phrases.images.merge(reports.images[["image_id", "official_split"]], on="image_id")
    counted = sides["official_split_y"].value_counts().to_dict()
    assert phrases.notes["images by MIMIC's split"] == counted


def test_csv_and_json_say_the_same(root, raw):
    (root / CSV).unlink()
    left, right = load_reader("ms_cxr").read(raw), load_reader("ms_cxr").read(root)
    assert (left.layout, right.layout) == (CSV, JSON)
    for table in ("images", "labels", "boxes"):
        pd.testing.assert_frame_equal(getattr(left, table), getattr(right, table), check_dtype=False)
    assert left.notes == right.notes


def test_named_findings_are_present_and_others_unknown(raw):
    data = load_reader("ms_cxr").read(raw)
    table = pd.read_csv(raw / CSV)
    for row in table.itertuples():
        labels = data.labels.set_index("image_id").loc[row.dicom_id]
        assert labels[row.category_name.replace(" ", "_")] == 1
    pairs = table[["dicom_id", "category_name"]].drop_duplicates()
    assert data.labels.drop(columns="image_id").notna().sum().sum() == len(pairs)


def test_prepare_keeps_phrases_and_the_official_split(raw, tmp_path):
    manifest = prepare("ms_cxr", raw, tmp_path / "out", 32)
    data = PreparedDataset(tmp_path / "out")
    table = pd.read_csv(raw / CSV)
    assert set(data.boxes["label"]) == set(table["label_text"])
    assert manifest["notes"]["pairs"] == len(
        table[["dicom_id", "category_name", "label_text"]].drop_duplicates()
    )
    sides = data.split("official", 0).set_index("image_id")["split"]
    written = table.drop_duplicates("dicom_id").set_index("dicom_id")["split"].replace("val", "validation")
    assert sides.to_dict() == written.to_dict()
    assert not set(data.boxes["label"]) & set(json.dumps(manifest).split('"'))


def test_version_1_0_has_no_split(root):
    table = pd.read_csv(root / CSV).drop(columns="split")
    for name in (CSV, JSON):
        (root / name).unlink()
    table.to_csv(root / "MS_CXR_Local_Alignment_v1.0.0.csv", index=False)
    data = load_reader("ms_cxr").read(root)
    assert "official_split" not in data.images
    assert data.layout == "MS_CXR_Local_Alignment_v1.0.0.csv"


def edit(path, column, value, row=0):
    table = pd.read_csv(path, dtype=str)
    table.loc[row, column] = value
    table.to_csv(path, index=False)


def first(root, column):
    return pd.read_csv(root / CSV, dtype=str)[column].iloc[0]


def resize(root):
    Image.new("L", (32, 32)).save(root / first(root, "path"))


def only_json(root, change):
    (root / CSV).unlink()
    content = json.loads((root / JSON).read_text())
    change(content)
    (root / JSON).write_text(json.dumps(content))


BROKEN = [
    (
        lambda root: [(root / name).unlink() for name in (CSV, JSON)],
        "ROOT/MS_CXR_Local_Alignment_v1.1.0.csv (or .json) is missing; copy it beside MIMIC-CXR-JPG's files/",
    ),
    (
        lambda root: rewrite(root / CSV, "label_text", "phrase"),
        f"ROOT/{CSV} has no column 'label_text' (found: dicom_id, category_name, phrase, path, x, y, w, h, "
        "image_width, image_height, split); use the file as released, or rename the column",
    ),
    (
        lambda root: edit(root / CSV, "category_name", "Nodule"),
        f"ROOT/{CSV}, line 2, column 'category_name': 'Nodule' is not one of Atelectasis, Cardiomegaly, "
        "Consolidation, Edema, Lung Opacity, Pleural Effusion, Pneumonia, Pneumothorax; correct this cell",
    ),
    (
        lambda root: edit(root / CSV, "label_text", ""),
        f"ROOT/{CSV}, line 2, column 'label_text': empty is not a value; correct this cell",
    ),
    (
        lambda root: edit(root / CSV, "split", "dev", 1),
        f"ROOT/{CSV}, line 3, column 'split': 'dev' is not one of test, train, val, valid, "
        "validate, validation; "
        "correct this cell",
    ),
    (
        lambda root: edit(root / CSV, "path", "../files/p10/p1/s1/a.jpg"),
        f"ROOT/{CSV} lists '../files/p10/p1/s1/a.jpg', which leads out of the raw folder; "
        "use the list as released",
    ),
    (
        lambda root: edit(root / CSV, "dicom_id", "other"),
        f"ROOT/{CSV}: path '{{path}}' is not files/pXX/pS/sT/<dicom_id>.jpg; use the file as released",
    ),
    (
        lambda root: edit(root / CSV, "w", "0"),
        f"ROOT/{CSV}, line 2: the box (x_min {{x}}, y_min {{y}}, x_max {{x}}, y_max {{bottom}}) is empty or "
        "outside; correct or remove the row",
    ),
    (
        lambda root: (root / first(root, "path")).unlink(),
        "ROOT/{path} is listed but does not exist (1 of {images} images are missing, 0 may be); "
        "copy the images or remove their rows",
    ),
    (
        resize,
        f"ROOT/{{path}} has 32 x 32 pixels, {CSV} says 64 x 64; boxes are in pixels of the "
        "originals: use images "
        "that were not resized",
    ),
    (
        lambda root: only_json(root, lambda content: content.pop("images")),
        f"ROOT/{JSON} has no list 'images'; use the file as released",
    ),
    (
        lambda root: only_json(root, lambda content: content["annotations"][1].pop("bbox")),
        f"ROOT/{JSON}: entry 1 of 'annotations' has no 'bbox'; correct it",
    ),
    (
        lambda root: only_json(root, lambda content: content["annotations"][2].update(image_id=-1)),
        f"ROOT/{JSON}: annotation 2 is of an image or category that is not listed",
    ),
    (
        lambda root: only_json(root, lambda content: content["annotations"][0].update(bbox=[1, 2])),
        f"ROOT/{JSON}: 'bbox' of annotation 0 is no list of x, y, w, h; correct it",
    ),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_a_broken_tree_is_refused_with_one_message(root, damage, message, tmp_path):
    row = pd.read_csv(root / CSV).iloc[0]
    facts = {
        "path": row["path"],
        "x": float(row["x"]),
        "y": float(row["y"]),
        "bottom": float(row["y"] + row["h"]),
        "images": pd.read_csv(root / CSV)["path"].nunique(),
    }
    damage(root)
    expected = message
    for name, value in facts.items():
        expected = expected.replace("{" + name + "}", str(value))
    assert refusal("ms_cxr", root, tmp_path / "out") == expected
