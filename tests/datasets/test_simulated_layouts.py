"""Layouts of one data set on simulated trees: they differ in form and say the same."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pycocotools import mask as coco

from prior.data.pixels import load_pixels
from prior.datasets import load_reader
from tests.datasets.archives import COUNT, SIZE, archive

pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR AS"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
]


def truth(key):
    return pd.read_parquet(archive(key).parent / f"{key}_truth" / "findings.parquet")


def union(rles):
    parts = [{"size": [SIZE, SIZE], "counts": rle.encode()} for rle in rles]
    return coco.decode(coco.merge(parts))


@pytest.mark.parametrize(
    ("key", "layout"),
    [
        ("siim:stage_1", "stage 1, UID names, with a nearest-image match to NIH"),
        ("siim:stage_2", "stage 2, with a nearest-image match to NIH"),
        ("siim:png", "PNG copy, without patient key"),
    ],
)
def test_the_layouts_of_siim_hold_the_true_masks(key, layout):
    raw = load_reader("siim").read(archive(key))
    assert raw.layout == layout
    known = truth(key)
    known = known[known["finding"] == "Pneumothorax"]
    true = {image: union(part["rle"]) for image, part in known.groupby("image_id")}
    true = {
        image: mask for image, mask in true.items() if mask.any() and image in set(raw.images["image_id"])
    }
    found = {image: union(part["rle"]) for image, part in raw.masks.groupby("image_id")}
    assert set(found) == set(true)
    assert len(true) > 3
    assert all((found[image] == true[image]).all() for image in true)
    positive = set(raw.labels.loc[raw.labels["Pneumothorax"] == 1, "image_id"])
    assert positive == set(true)
    assert ("official_split" in raw.images) == (key == "siim:png")


@pytest.mark.parametrize(
    ("key", "version", "labels"),
    [
        ("covidx", "9A", ["Normal", "Pneumonia", "COVID_19"]),
        ("covidx:6", "6", ["COVID_19"]),
        ("covidx:9B", "9B", ["COVID_19"]),
        ("covidx:CXR-4", "CXR-4", ["COVID_19"]),
    ],
)
def test_the_versions_of_covidx_show_the_same_films(key, version, labels):
    raw, first = load_reader("covidx").read(archive(key)), load_reader("covidx").read(archive("covidx"))
    assert raw.layout.startswith(f"list version {version} (not as many as published)")
    assert raw.labels.columns.tolist() == ["image_id", *labels]
    names = [set(data.images["source"].str.split("/").str[-1]) for data in (raw, first)]
    assert names[0] == names[1]
    positive = [
        set(d.labels.loc[d.labels["COVID_19"] == 1, "image_id"].str.split("_").str[1]) for d in (raw, first)
    ]
    assert positive[0] == positive[1]
    assert (archive(key) / "val.txt").is_file() == (version == "CXR-4")
    assert set(raw.images["official_split"]) == {"train", "validation", "test"}


def test_lung_masks_lie_on_dark_lungs():
    root = archive("kermany_lungs")
    raw = load_reader("kermany_lungs").read(root)
    assert {"no lung mask"} == {item["reason"] for item in raw.dropped}
    for image, rle in zip(raw.masks["image_id"], raw.masks["rle"], strict=True):
        mask = union([rle]).astype(bool)
        pixels = load_pixels(root / raw.images.set_index("image_id").loc[image, "source"]).pixels
        assert 0.1 < mask.mean() < 0.6
        middle = ~mask[:, SIZE // 3 : 2 * SIZE // 3]
        assert pixels[mask].mean() < pixels[:, SIZE // 3 : 2 * SIZE // 3][middle].mean()


def test_lesions_of_the_small_nih_folder_are_the_true_ones():
    raw = load_reader("chestx_det").read(archive("chestx_det"))
    known = truth("chestx_det")
    true = {image: union(part["rle"]) for image, part in known.groupby("image_id")}
    assert 5 < len(raw.images) < COUNT
    assert len(raw.masks) == len(raw.boxes) > 5
    for image, rle in zip(raw.masks["image_id"], raw.masks["rle"], strict=True):
        lesion = union([rle])
        assert lesion.any()
        assert (lesion <= true[image]).all()
    lesions = load_reader("lesion_boxes").read(archive("lesion_boxes"))
    assert set(lesions.notes["images_with_boxes_of"]) == {"ChestX-Det", "NIH_BBox_2017"}
    assert set(raw.images["image_id"]) < set(lesions.images["image_id"])


def test_small_nih_pairs_have_reports_of_their_side():
    raw = load_reader("nih_small").read(archive("nih_small"))
    assert len(raw.images) == COUNT
    assert raw.reports["text"].str.startswith("FINDINGS: ").all()
    assert len(raw.reports) > COUNT / 2
    assert len(raw.held_out) > 5
    with Image.open(archive("nih_small") / raw.images["source"].iloc[0]) as image:
        assert np.asarray(image).shape == (SIZE, SIZE)
