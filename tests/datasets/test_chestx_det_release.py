import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader
from prior.phantom.archives import simulate_archive
from prior.phantom.writers.chestx_det_release import CLASSES
from tests.datasets.simulated import cases, refusal

COUNT, SEED, SIZE = 40, 2, 64
TRAIN, TEST = "ChestX_Det_train.json", "ChestX_Det_test.json"
MATCH = "nih_patient_map.csv"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw") / "chestx_det_release"
    simulate_archive("chestx_det_release", root, COUNT, SEED, SIZE, 1)
    return root


@pytest.fixture
def root(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "raw")


def matches(root):
    return pd.read_csv(root / MATCH, dtype=str)


def decode(rle):
    return coco.decode({"size": [SIZE, SIZE], "counts": rle.encode()}).astype(bool)


def test_labels_boxes_and_polygons_are_the_findings(raw):
    data = load_reader("chestx_det_release").read(raw)
    labels = data.labels.set_index("image_id")
    named = matches(raw).set_index("nih_image")["file_name"].str.removesuffix(".png")
    overlaps = []
    for study, film, _ in cases("rsna", COUNT, SEED, SIZE):
        image = named[f"{study.patient + 1:08d}_{study.order:03d}.png"]
        regions = [r for r in film.regions if r.label in CLASSES and r.mask.any()]
        present = {CLASSES[region.label] for region in regions}
        assert {name for name, value in labels.loc[image].items() if value == 1} == present
        boxes = data.boxes[data.boxes["image_id"] == image]
        masks = data.masks[data.masks["image_id"] == image]
        assert len(boxes) == len(masks) == len(regions)
        for region, box, rle in zip(regions, boxes.itertuples(), masks["rle"], strict=True):
            rows, columns = np.flatnonzero(region.mask.any(1)), np.flatnonzero(region.mask.any(0))
            assert (box.x_min, box.y_min, box.x_max, box.y_max) == (
                columns[0],
                rows[0],
                columns[-1] + 1,
                rows[-1] + 1,
            )
            filled = decode(rle)
            assert filled[region.mask].mean() > 0.8  # a polygon passes through pixels
            overlaps.append((filled & region.mask).sum() / (filled | region.mask).sum())
    assert len(overlaps) > 20
    assert np.median(overlaps) > 0.8


def test_patients_are_those_of_nih_and_the_lists_are_official(raw, tmp_path):
    manifest = prepare("chestx_det_release", raw, tmp_path / "out", 16)
    data = PreparedDataset(tmp_path / "out")
    assert manifest["patient_family"] == "nih"
    assert manifest["layout"] == f"{TRAIN}, {TEST}, with a nearest-image match to NIH"
    names = {side: {i["file_name"][:-4] for i in json.loads((raw / f).read_text())}
             for side, f in (("train", TRAIN), ("test", TEST))}  # fmt: skip
    split = data.split("official", 0)
    assert {side: set(part["image_id"]) for side, part in split.groupby("split")} == names
    owners = matches(raw).set_index("file_name")["nih_image"].str[:8].str.lstrip("0")
    assert data.images["patient_id"].tolist() == owners[data.images["image_id"] + ".png"].tolist()
    none = data.labels.set_index("image_id").eq(0).all(axis=1)
    assert none.any()
    assert not set(none[none].index) & set(data.boxes["image_id"])


def test_without_a_match_the_release_has_no_patient_key(root):
    (root / MATCH).unlink()
    data = load_reader("chestx_det_release").read(root)
    assert data.layout == f"{TRAIN}, {TEST}, without patient key"
    assert data.patient_family is None
    assert data.images["patient_id"].equals(data.images["image_id"])


def test_films_without_a_reliable_match_are_left_out(root):
    table = matches(root)
    unsure = table.loc[0, "file_name"]
    table.loc[0, "error"] = "11"
    table.to_csv(root / MATCH, index=False)
    data = load_reader("chestx_det_release").read(root)
    assert [Path(item["source"]).name for item in data.dropped] == [unsure]
    for frame in (data.images, data.labels, data.boxes, data.masks):
        assert not (frame["image_id"] + ".png" == unsure).any()
    assert len(data.images) == COUNT - 1


def test_names_of_nih_tell_their_patient(root):
    names = matches(root).set_index("file_name")["nih_image"]
    (root / MATCH).unlink()
    for file in (TRAIN, TEST):
        items = json.loads((root / file).read_text())
        for item in items:
            path = next(root.glob(f"*_data/{item['file_name']}"))
            item["file_name"] = names[item["file_name"]]
            path.rename(path.with_name(item["file_name"]))
        (root / file).write_text(json.dumps(items))
    data = load_reader("chestx_det_release").read(root)
    assert data.layout.endswith("patients in the names")
    assert data.images["patient_id"].tolist() == data.images["image_id"].str[:8].str.lstrip("0").tolist()


def test_a_polygon_without_area_is_counted(root):
    change(root, lambda items: marked(items).update(polygons=[[[1, 1]]] * len(marked(items)["syms"])))
    data = load_reader("chestx_det_release").read(root)
    assert data.notes["polygons without area"] > 0
    assert len(data.masks) + data.notes["polygons without area"] == len(data.boxes)


def change(root, edit):
    items = json.loads((root / TRAIN).read_text())
    edit(items)
    (root / TRAIN).write_text(json.dumps(items))


def marked(items):
    return next(item for item in items if item["syms"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / TEST).unlink(), f"ROOT/{TEST} is missing; copy it into the raw folder"),
        (
            lambda root: (root / TRAIN).write_text("[{]"),
            f"ROOT/{TRAIN} cannot be read as JSON (Expecting property name enclosed in double quotes: line 1 "
            "column 3 (char 2)); replace the file",
        ),
        (
            lambda root: change(root, lambda items: items[0].pop("syms")),
            f"ROOT/{TRAIN}: entry 0 of 'images' has no 'syms'; correct it",
        ),
        (
            lambda root: change(root, lambda items: items[0].update(file_name="../0001_000.png")),
            f"ROOT/{TRAIN}: '../0001_000.png' is no name such as 36199.png or 00000061_012.png; correct it",
        ),
        (
            lambda root: change(root, lambda items: items[0].update(file_name="0_/../../1.png")),
            f"ROOT/{TRAIN}: '0_/../../1.png' is no name such as 36199.png or 00000061_012.png; correct it",
        ),
        (
            lambda root: change(root, lambda items: items[0].update(syms=["Mass"] * 9)),
            f"ROOT/{TRAIN}: {{name}} has 9 / {{count}} / {{count}} syms / boxes / polygons; correct it",
        ),
        (
            lambda root: change(root, lambda items: items.append(items[0])),
            "ROOT: image {image} is listed twice; correct the lists",
        ),
        (
            lambda root: change(root, lambda items: marked(items)["syms"].__setitem__(0, "Infiltration")),
            f"ROOT/{TRAIN}: class 'Infiltration' of {{marked}} is none of Atelectasis, Calcification, "
            "Cardiomegaly, Consolidation, Diffuse Nodule, Effusion, Emphysema, Fibrosis, "
            "Fracture, Mass, Nodule, "
            "Pleural Thickening, Pneumothorax",
        ),
        (
            lambda root: change(root, lambda items: marked(items)["boxes"].__setitem__(0, [9, 9, 3, 12])),
            f"ROOT/{TRAIN}: box [9, 9, 3, 12] of {{marked}} is not left, top, right, bottom; "
            "correct or remove it",
        ),
        (
            lambda root: change(root, lambda items: marked(items)["polygons"].__setitem__(0, [[1, "2"]])),
            f"ROOT/{TRAIN}: a polygon of {{marked}} is no list of points; correct it",
        ),
    ],
)
def test_a_broken_tree_is_refused_with_one_message(damage, message, root, tmp_path):
    items = json.loads((root / TRAIN).read_text())
    name = items[0]["file_name"]
    facts = {
        "name": name,
        "image": name[:-4],
        "count": len(items[0]["boxes"]),
        "marked": marked(items)["file_name"],
    }
    damage(root)
    expected = message
    for key, value in facts.items():
        expected = expected.replace("{" + key + "}", str(value))
    assert refusal("chestx_det_release", root, tmp_path / "out") == expected
