import json
import shutil

import numpy as np
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
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw") / "chestx_det_release"
    simulate_archive("chestx_det_release", root, COUNT, SEED, SIZE, 1)
    return root


@pytest.fixture
def root(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "raw")


def decode(rle):
    return coco.decode({"size": [SIZE, SIZE], "counts": rle.encode()}).astype(bool)


def test_labels_boxes_and_polygons_are_the_findings(raw):
    data = load_reader("chestx_det_release").read(raw)
    labels = data.labels.set_index("image_id")
    overlaps = []
    for study, film, _ in cases("rsna", COUNT, SEED, SIZE):
        image = f"{study.patient + 1:08d}_{study.order:03d}"
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
    names = {side: {i["file_name"][:-4] for i in json.loads((raw / f).read_text())}
             for side, f in (("train", TRAIN), ("test", TEST))}  # fmt: skip
    split = data.split("official", 0)
    assert {side: set(part["image_id"]) for side, part in split.groupby("split")} == names
    assert (data.images["patient_id"] == data.images["image_id"].str[:8].astype(int).astype(str)).all()
    none = data.labels.set_index("image_id").eq(0).all(axis=1)
    assert none.any()
    assert not set(none[none].index) & set(data.boxes["image_id"])


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
            f"ROOT/{TRAIN}: '../0001_000.png' is no NIH image name such as 00000061_012.png; correct it",
        ),
        (
            lambda root: change(root, lambda items: items[0].update(file_name="0_/../../1.png")),
            f"ROOT/{TRAIN} lists '0_/../../1.png', which leads out of the raw folder; use the "
            "list as released",
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
