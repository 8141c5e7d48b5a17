"""Grounding on a stub whose maps are known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pycocotools import mask as coco

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.data.schemas import write_table
from prior.errors import InputError
from prior.methods.base import ImageFeatures, ReportFeatures
from prior.metrics.grounding import grounding_metrics
from prior.phantom.archives import simulate_archive
from prior.protocols import load_protocol
from prior.reports.tokens import train_tokenizer
from prior.tasks import prompts as prompt_files
from prior.tasks.base import Cell, check_place
from prior.tasks.grounding import evaluate, spoken_findings
from prior.tasks.regions import finding_masks
from tests.tasks.stub import StubBundle, bundle, dataset, protocol

CELL = Cell(None, 0)
PROMPTS = """
Edema: {positive: [wet, damp], negative: [dry]}
Fracture: {positive: [broken], negative: [whole]}
"""
# The stub's map of a phrase: the vector of its first word, laid out on a grid of 2 x 2.
WORDS = {
    "wet": [4.0, 0, 0, 0],
    "damp": [0, 2.0, 0, 0],
    "dry": [9.0] * 4,
    "broken": [3.0] * 4,
    "whole": [0.0] * 4,
}
QUARTERS = {"left": (0, 0, 2, 2), "right": (2, 0, 4, 2), "bottom": (0, 2, 4, 4)}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    (tmp_path / "toy.yaml").write_text(PROMPTS)
    monkeypatch.setattr(prompt_files, "FOLDER", tmp_path)


def mark(root, boxes, masks=()):
    """Mark images: (image number, finding, quarter), as boxes or as masks."""
    corners = [(f"i{i:04d}", finding, *map(float, QUARTERS[q])) for i, finding, q in boxes]
    columns = ["image_id", "label", "x_min", "y_min", "x_max", "y_max"]
    write_table(root, "boxes", pd.DataFrame(corners, columns=columns))
    rows = []
    for i, finding, q in masks:
        x, y, right, bottom = QUARTERS[q]
        mask = np.zeros((4, 4), dtype=np.uint8, order="F")
        mask[y:bottom, x:right] = 1
        rows.append((f"i{i:04d}", finding, coco.encode(mask)["counts"].decode()))
    write_table(root, "masks", pd.DataFrame(rows, columns=["image_id", "label", "rle"], dtype=str))
    return PreparedDataset(root)


def model(tmp_path, n, has_maps=True):
    found = bundle(tmp_path, np.eye(n).tolist(), WORDS)
    plain = found.towers.encode_images

    def encode_images(images):
        features = plain(images)
        features.grid = (2, 2)
        return features

    found.towers.encode_images = encode_images
    found.towers.heat_maps = lambda images, reports: reports.global_ if has_maps else None
    return found


def run(tmp_path, data, stub, thresholds=(0.5,)):
    knobs = protocol("grounding", prompts="toy", thresholds=list(thresholds))
    return next(iter(evaluate(stub, data, knobs, [CELL], tmp_path)))[1]


def test_the_map_is_the_mean_over_phrasings_and_scores_by_hand(tmp_path):
    dataset(tmp_path, {"Edema": [1.0, 1.0, 0.0]}, [])
    data = mark(tmp_path, [(0, "Edema", "left"), (1, "Edema", "right")])
    frame = run(tmp_path, data, model(tmp_path, 3)).predictions.set_index("image_id")
    assert frame.index.tolist() == ["i0000", "i0001"]
    # The mean map has 2 in the upper left and 1 in the upper right; one phrasing alone would tell otherwise.
    assert frame["hit"].tolist() == [1, 0]
    assert frame["area"].tolist() == [0.25, 0.25]
    assert frame.loc["i0000", "cnr"] > frame.loc["i0001", "cnr"] > 0
    image = (
        torch.nn.functional.interpolate(
            torch.tensor([[[[2.0, 1.0], [0.0, 0.0]]]]), size=(4, 4), mode="bilinear", align_corners=False
        )[0, 0].numpy()
        / 2
    )
    for quarter, name in (("left", "i0000"), ("right", "i0001")):
        x, y, right, bottom = QUARTERS[quarter]
        mask = np.zeros((4, 4), dtype=bool)
        mask[y:bottom, x:right] = True
        inside, outside = image[mask], image[~mask]
        contrast = (inside.mean() - outside.mean()) / np.sqrt(inside.var() + outside.var())
        assert frame.loc[name, "cnr"] == pytest.approx(contrast, rel=1e-5)
        marked = image >= 0.5
        assert frame.loc[name, "miou"] == pytest.approx((marked & mask).sum() / (marked | mask).sum())


def test_a_constant_map_scores_chance_on_every_metric(tmp_path):
    dataset(tmp_path, {"Fracture": [1.0, 1.0, 1.0]}, [])
    data = mark(tmp_path, [(0, "Fracture", "left"), (1, "Fracture", "bottom"), (2, "Fracture", "right")])
    frame = run(tmp_path, data, model(tmp_path, 3), (0.1, 0.9)).predictions
    assert frame["hit"].tolist() == frame["miou"].tolist() == frame["area"].tolist() == [0.25, 0.5, 0.25]
    metrics, weights = grounding_metrics(frame), np.ones((1, 3))
    assert metrics.compute(weights) == metrics.baselines["chance"](weights)


def test_masks_win_over_boxes_and_findings_are_kept_apart(tmp_path):
    dataset(tmp_path, {"Edema": [1.0, 1.0], "Fracture": [0.0, 1.0]}, [])
    data = mark(
        tmp_path,
        [(0, "Edema", "bottom"), (1, "Fracture", "bottom"), (1, "Hernia", "left")],
        [(0, "Edema", "left"), (0, "Edema", "right")],
    )
    top = np.zeros((4, 4), dtype=bool)
    top[:2] = True
    found = finding_masks(data, "Edema", ["i0000", "i0001"], 4, "pad")
    assert found.keys() == {"i0000"}
    np.testing.assert_array_equal(found["i0000"], top)
    result = run(tmp_path, data, model(tmp_path, 2))
    assert result.predictions[["image_id", "finding"]].to_numpy().tolist() == [
        ["i0000", "Edema"],
        ["i0001", "Fracture"],
    ]
    assert (result.info["n_test"], result.info["n_pos"]) == (2, 2)
    np.testing.assert_array_equal(result.examples["truth"], [top, ~top])
    assert result.examples["heat"].shape == result.examples["images"].shape == (2, 4, 4)


def test_omitted_without_text_maps_or_positives(tmp_path):
    dataset(tmp_path, {"Edema": [1.0, 0.0]}, [])
    data = mark(tmp_path, [(0, "Edema", "left")])
    assert "without text" in run(tmp_path, data, StubBundle(None)).info["omitted"]
    assert "no regions" in run(tmp_path, data, model(tmp_path, 2, has_maps=False)).info["omitted"]
    split = pd.read_parquet(tmp_path / "splits/official.parquet")
    split.loc[0, ["split", "rank"]] = ["train", 0.0]
    write_table(tmp_path, "splits/official", split)
    assert "no test image" in run(tmp_path, PreparedDataset(tmp_path), model(tmp_path, 2)).info["omitted"]


def test_findings_without_phrasings_are_named(tmp_path):
    dataset(tmp_path, {"Hernia": [1.0, 0.0]}, [])
    with pytest.raises(InputError, match="boxes and masks: 1"):
        run(tmp_path, mark(tmp_path, [(0, "Hernia", "left")]), model(tmp_path, 2))
    with pytest.raises(InputError, match="boxes and masks: 0"):
        run(tmp_path, mark(tmp_path, []), model(tmp_path, 2))


class Bright(torch.nn.Module):
    """Maps that are the image itself on a grid of 4 x 4, whatever the phrase."""

    def encode_images(self, images):
        grid = torch.nn.functional.adaptive_avg_pool2d(images.float(), 4)
        return ImageFeatures(grid.mean(dim=(1, 2, 3))[:, None], grid.flatten(2).transpose(1, 2), (4, 4))

    def encode_reports(self, tokens):
        ones, mask = torch.ones(len(tokens.ids), 1), tokens.mask[:, :1]
        return ReportFeatures(ones, ones.unsqueeze(1), mask, ones.unsqueeze(1), mask)

    def heat_maps(self, images, reports):
        return images.local[..., 0]


def test_the_phrases_of_ms_cxr_are_grounded_one_by_one(tmp_path, capfd):
    simulate_archive("ms_cxr", tmp_path / "raw", 40, 2, 64, 1)
    prepare("ms_cxr", tmp_path / "raw", tmp_path / "ms_cxr", 64, presets=("official",))
    data = PreparedDataset(tmp_path / "ms_cxr")
    knobs = load_protocol("strict_small", "grounding", "sentences")
    knobs = knobs.model_copy(update={"knobs": {**knobs.knobs, "split": {"default": "official"}}})
    check_place(data, knobs, [CELL])
    stub = StubBundle(Bright(), train_tokenizer(["some words"] * 9, 60, tmp_path / "tokenizer.json"))
    stub.info = SimpleNamespace(image=SimpleNamespace(input_size=64), text=SimpleNamespace(max_tokens=16))
    result = next(iter(evaluate(stub, data, knobs, [CELL], tmp_path)))[1]

    csv = pd.read_csv(tmp_path / "raw" / "MS_CXR_Local_Alignment_v1.1.0.csv")
    test = csv[csv["split"] == "test"]
    assert len(result.predictions) == len(test.drop_duplicates(["dicom_id", "label_text"])) > 5
    assert result.info["n_pos"] == test["dicom_id"].nunique()
    # Every row is a known image with a finding of its own, and no phrase goes into predictions or logs.
    pairs = set(zip(csv["dicom_id"], csv["category_name"].str.replace(" ", "_"), strict=True))
    assert set(zip(result.predictions["image_id"], result.predictions["finding"], strict=True)) <= pairs
    told = capfd.readouterr()
    written = result.predictions.to_csv() + str(result.info) + told.out + told.err
    assert not any(phrase in written for phrase in csv["label_text"])
    # One phrase by hand: brightness inside its boxes against outside.
    image = test["dicom_id"].iloc[0]
    boxes = data.boxes[data.boxes["image_id"] == image]
    phrase = boxes["label"].sort_values().iloc[0]
    area = np.zeros((64, 64), dtype=bool)
    for box in boxes[boxes["label"] == phrase].itertuples():
        area[int(box.y_min) : int(box.y_max), int(box.x_min) : int(box.x_max)] = True
    assert area.mean() in result.predictions.loc[result.predictions["image_id"] == image, "area"].to_numpy()
    metrics = grounding_metrics(result.predictions)
    weights = np.ones((1, result.predictions["image_id"].nunique()))
    assert {"pointing_game", "cnr", "miou"} <= {name for name, _ in metrics.compute(weights)}


def test_the_finding_of_a_phrase_is_one_of_its_image():
    labels = pd.DataFrame({"image_id": ["a", "b"], "Edema": [1.0, np.nan], "Pneumonia": [1.0, 1.0]})
    assert spoken_findings(labels, "Likely pneumonia at the base.", ["a", "b"]) == ["Pneumonia"] * 2
    assert spoken_findings(labels, "Something else.", ["a", "b"]) == ["Edema", "Pneumonia"]
    with pytest.raises(InputError, match="image c has boxes and no present finding"):
        spoken_findings(pd.DataFrame({"image_id": ["c"], "Edema": [np.nan]}), "x", ["c"])
