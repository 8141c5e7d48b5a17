"""The boxed part of NIH: which images stay, and the mask of each finding that is drawn from their boxes."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader, nih_boxes
from prior.errors import InputError
from prior.tasks.regions import FindingMasks, marked
from tests.datasets.archives import archive

SIDE = 16


@pytest.fixture(scope="module")
def whole():
    return load_reader("nih_chestxray14").read(archive("nih_boxes"))


def test_every_boxed_image_stays_and_normal_ones_to_the_number(whole, monkeypatch) -> None:
    monkeypatch.setattr(nih_boxes, "NORMALS", 7)
    part = load_reader("nih_boxes").read(archive("nih_boxes"))
    boxed = set(whole.boxes["image_id"])
    others = set(part.images["image_id"]) - boxed
    assert boxed <= set(part.images["image_id"])
    normal = whole.labels.loc[whole.labels["No_Finding"] == 1, "image_id"]
    assert len(others) == 7
    assert others <= set(normal)
    assert len(part.labels) == len(part.images) == len(boxed) + 7
    pd.testing.assert_frame_equal(part.boxes, whole.boxes)
    assert part.notes["normal_images"] == 7


def lists(root: Path, names: list[str]) -> None:
    (root / "lovt").mkdir()
    for k, side in enumerate(("train", "validation", "test")):
        pd.DataFrame({"ID": names[k::3]}).to_csv(root / "lovt" / f"{side}.csv", index=False)


def test_lists_say_which_images_stay(whole, tmp_path) -> None:
    root = tmp_path / "nih"
    shutil.copytree(archive("nih_boxes"), root)
    names = sorted(whole.images["image_id"])[:12]
    lists(root, names)
    part = load_reader("nih_boxes").read(root)
    assert sorted(part.images["image_id"]) == names
    assert set(part.boxes["image_id"]) <= set(names)
    (root / "lovt" / "test.csv").unlink()
    with pytest.raises(InputError, match=r"test\.csv is missing"):
        load_reader("nih_boxes").read(root)
    pd.DataFrame({"ID": ["ghost"]}).to_csv(root / "lovt" / "test.csv", index=False)
    with pytest.raises(InputError, match=r"test\.csv, line 2, column 'ID'.*an image of the table"):
        load_reader("nih_boxes").read(root)


def test_without_boxes_the_remedy_is_named(tmp_path) -> None:
    root = tmp_path / "nih"
    shutil.copytree(archive("nih_boxes"), root)
    (root / "BBox_List_2017.csv").unlink()
    with pytest.raises(InputError, match=r"BBox_List_2017\.csv is missing .* put it there"):
        load_reader("nih_boxes").read(root)


def test_masks_by_finding_are_the_boxes_of_that_finding(tmp_path) -> None:
    prepare("nih_boxes", archive("nih_boxes"), tmp_path, SIDE, simulated=True)
    data = PreparedDataset(tmp_path)
    masks = FindingMasks(data, SIDE, "pad")
    assert masks.findings == sorted(set(data.boxes["label"]))
    rows = data.images["row"].to_numpy(np.int64)
    found = masks[rows]
    assert found.shape == (len(rows), *masks.shape[1:]) == (len(rows), len(masks.findings), SIDE, SIDE)
    for k, finding in enumerate(masks.findings):
        of_finding = data.boxes.loc[data.boxes["label"] == finding, "image_id"]
        assert set(data.images["image_id"][marked(found[:, k])]) == set(of_finding)
    union = data.mask_pixels(SIDE, "pad")[rows] > 0
    assert (found.any(axis=1) == union).mean() > 0.98
