"""Metrics against independent implementations and hand-made edge cases."""

import contextlib
import io
import itertools

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score

from prior.metrics.arrays import weighted_median
from prior.metrics.cell import units
from prior.metrics.classification import (
    auroc,
    average_precision,
    brier,
    finding_metrics,
)
from prior.metrics.detection import THRESHOLDS, average_precisions, detection_metrics, match_images
from prior.metrics.exclusive import exclusive_metrics
from prior.metrics.retrieval import any_in_top, retrieval_metrics
from prior.metrics.segmentation import segmentation_metrics


def ones(frame: pd.DataFrame) -> np.ndarray:
    return np.ones((1, frame["image_id"].nunique()))


@pytest.mark.parametrize("decimals", [1, 6])
def test_ranking_metrics_equal_sklearn_on_weighted_tied_scores(decimals: int) -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(80) < 0.2
    scores = np.round(labels * 0.3 + generator.random(80), decimals)
    weights = generator.integers(0, 4, size=(20, 80)).astype(np.float32)
    for function, reference in ((auroc, roc_auc_score), (average_precision, average_precision_score)):
        expected = [reference(labels, scores, sample_weight=row) for row in weights]
        np.testing.assert_allclose(function(scores, labels, weights), expected, atol=1e-6)


def test_auroc_without_one_label_value_is_undefined() -> None:
    scores, weights = np.array([0.1, 0.2, 0.3]), np.ones((1, 3))
    assert np.isnan(auroc(scores, np.zeros(3, bool), weights)[0])
    assert np.isnan(auroc(scores, np.ones(3, bool), weights)[0])
    assert auroc(np.full(3, 0.5), np.array([True, False, False]), weights)[0] == 0.5


def test_brier_needs_probabilities() -> None:
    assert brier(np.array([0.5, 1.0]), np.array([1.0, 1.0]), np.ones((1, 2)))[0] == 0.125
    assert np.isnan(brier(np.array([-2.0, 3.0]), np.array([1.0, 1.0]), np.ones((1, 2)))[0])


def long_form(scores: np.ndarray, labels: np.ndarray, findings: list[str]) -> pd.DataFrame:
    n = len(scores)
    return pd.DataFrame(
        {
            "image_id": np.repeat([f"i{k}" for k in range(n)], len(findings)),
            "patient_id": np.repeat([f"p{k // 2}" for k in range(n)], len(findings)),
            "finding": findings * n,
            "score": scores.ravel(),
            "label": labels.ravel(),
        }
    )


def test_findings_leave_out_missing_labels_and_count_unfit() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.1, 0.5, 0.2], [0.8, 0.5, 0.3], [0.7, 0.5, 0.4]])
    labels = np.array([[1, 1, 0], [0, 0, 0], [np.nan, 1, 0], [-1, 0, 0]], dtype=float)
    frame = long_form(scores, labels, ["A", "B", "C"])
    metrics = finding_metrics(frame, probabilities=True)
    values = {key: value[0] for key, value in metrics.compute(ones(frame)).items()}
    assert values["auroc", "A"] == 1
    assert values["auroc", "B"] == 0.5
    assert np.isnan(values["auroc", "C"])
    assert values["auroc_macro", ""] == 0.75
    assert values["n_unfit", ""] == 1
    assert metrics.n_test["A"] == 2
    assert metrics.n_pos == {"A": 1, "B": 2, "C": 0, "": 2}
    chance = metrics.baselines["chance"](ones(frame))
    assert chance["auprc", "B"][0] == 0.5


def test_5x200_accuracy_shares_ties() -> None:
    classes = ["5x200:A", "5x200:B"]
    frame = long_form(
        np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]), np.array([[1, 0], [0, 1], [0, 1]]), classes
    )
    metrics = exclusive_metrics(frame, "_5x200")
    assert metrics.compute(ones(frame))["accuracy_5x200", ""][0] == pytest.approx(0.5)
    assert metrics.baselines["chance"](ones(frame))["accuracy_5x200", ""][0] == 0.5


def test_segmentation_meanings_of_dice() -> None:
    rows = [("a", 5, 5, 5, 10), ("b", 0, 0, 0, 0), ("c", 0, 3, 0, 0), ("d", 0, 0, 10, 10)]
    frame = pd.DataFrame(rows, columns=["image_id", "tp", "fp", "fn", "n_mask"]).assign(patient_id="p")
    metrics = segmentation_metrics(frame)
    values = {key[0]: value[0] for key, value in metrics.compute(ones(frame)).items()}
    assert values["dice_image_all"] == pytest.approx((0.5 + 1 + 0 + 0) / 4)
    assert values["dice_image_positive"] == pytest.approx(0.25)
    assert values["dice_pooled"] == pytest.approx(10 / (10 + 8 + 15))
    assert values["iou_pooled"] == pytest.approx(5 / (5 + 8 + 15))
    assert values["specificity_image"] == 0.5
    nothing = {k[0]: v[0] for k, v in metrics.baselines["predict_nothing"](ones(frame)).items()}
    assert (nothing["dice_image_all"], nothing["dice_pooled"], nothing["dice_image_positive"]) == (0.5, 0, 0)


def test_segmentation_without_any_mask_or_prediction() -> None:
    frame = pd.DataFrame(
        {"image_id": ["a"], "patient_id": ["p"], "tp": [0], "fp": [0], "fn": [0], "n_mask": [0]}
    )
    values = {key[0]: value[0] for key, value in segmentation_metrics(frame).compute(ones(frame)).items()}
    assert values["dice_image_all"] == 1
    assert np.isnan(values["dice_image_positive"])
    assert np.isnan(values["dice_pooled"])


@pytest.mark.parametrize("empty", [False, True])
def test_segmentation_equals_scikit_learn_on_pixels(empty: bool) -> None:
    generator = np.random.default_rng(3)
    truth = generator.random((6, 8, 8)) < 0.3
    truth[:2] = False
    predicted = np.zeros_like(truth) if empty else truth ^ (generator.random(truth.shape) < 0.2)
    tp = (truth & predicted).sum(axis=(1, 2))
    frame = pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(6)],
            "patient_id": "p",
            "tp": tp,
            "fp": predicted.sum(axis=(1, 2)) - tp,
            "fn": truth.sum(axis=(1, 2)) - tp,
            "n_mask": truth.sum(axis=(1, 2)),
            "n_pixels": 64,
        }
    )
    values = segmentation_metrics(frame, ["mdice_pooled"]).compute(np.ones((1, 6)))
    mask, found = truth.ravel(), predicted.ravel()
    assert values["dice_pooled", ""][0] == pytest.approx(f1_score(mask, found))
    assert values["iou_pooled", ""][0] == pytest.approx(jaccard_score(mask, found))
    assert values["mdice_pooled", ""][0] == pytest.approx(f1_score(mask, found, average="macro"))
    each = [f1_score(a.ravel(), b.ravel()) for a, b in zip(truth[2:], predicted[2:], strict=True)]
    assert values["dice_image_positive", ""][0] == pytest.approx(np.mean(each))
    nothing = segmentation_metrics(frame, ["mdice_pooled"]).baselines["predict_nothing"](np.ones((1, 6)))
    expected = f1_score(mask, np.zeros_like(mask), average="macro", zero_division=0)
    assert nothing["mdice_pooled", ""][0] == pytest.approx(expected)


def test_weighted_median_equals_repetition() -> None:
    generator = np.random.default_rng(1)
    values, weights = (
        generator.integers(1, 9, 12).astype(float),
        generator.integers(0, 3, (30, 12)).astype(float),
    )
    expected = [np.median(np.repeat(values, row.astype(int))) for row in weights]
    np.testing.assert_array_equal(weighted_median(values, weights), expected)


def test_retrieval_values_and_chance() -> None:
    frame = pd.DataFrame(
        {
            "image_id": ["a", "b", "c"],
            "patient_id": ["p", "q", "r"],
            "direction": "image_to_text",
            "rank": [1.0, 6.0, 50.5],
            "pool": 100,
            "n_relevant": [20, 20, 20],
            "hits_1": [1, 0, 0],
            "hits_5": [0.4, 0.2, 0],
            "hits_10": [0.2, 0.2, 0.1],
        }
    )
    metrics = retrieval_metrics(frame)
    values = {key[0]: value[0] for key, value in metrics.compute(np.ones((1, 3))).items()}
    assert values["r_at_1_i2t"] == pytest.approx(1 / 3)
    assert values["r_at_10_i2t"] == pytest.approx(2 / 3)
    assert values["hit_at_5_i2t"] == pytest.approx(2 / 3)
    assert values["p_at_5_i2t"] == pytest.approx(0.2)
    assert values["median_rank_i2t"] == 6
    chance = {key[0]: value[0] for key, value in metrics.baselines["chance"](np.ones((1, 3))).items()}
    assert chance["p_at_10_i2t"] == pytest.approx(0.2)
    assert chance["r_at_10_i2t"] == pytest.approx(0.1)
    assert chance["median_rank_i2t"] == 50.5
    draws = np.random.default_rng(0).permuted(np.tile(np.arange(100) < 20, (4000, 1)), axis=1)[:, :5]
    assert any_in_top(np.array([20.0]), np.array([100.0]), 5)[0] == pytest.approx(
        draws.any(1).mean(), abs=0.03
    )


@pytest.mark.parametrize("relevant", [1, 3, 5])
def test_chance_of_retrieval_equals_the_mean_over_all_orders(relevant: int) -> None:
    orders = np.array(list(itertools.permutations(range(6))))
    hits = orders < relevant
    ranks = (orders == 0).argmax(axis=1) + 1
    row = {"image_id": "a", "patient_id": "p", "direction": "image_to_text", "rank": 1.0, "pool": 6}
    frame = pd.DataFrame(
        [{**row, "n_relevant": relevant, **dict.fromkeys(("hits_1", "hits_2", "hits_4"), 0.0)}]
    )
    chance = retrieval_metrics(frame).baselines["chance"](np.ones((1, 1)))
    for k in (1, 2, 4):
        assert chance[f"p_at_{k}_i2t", ""][0] == pytest.approx(hits[:, :k].mean())
        assert chance[f"hit_at_{k}_i2t", ""][0] == pytest.approx(hits[:, :k].any(axis=1).mean())
        assert chance[f"r_at_{k}_i2t", ""][0] == pytest.approx((ranks <= k).mean())
    assert chance["median_rank_i2t", ""][0] == pytest.approx(ranks.mean())


def boxes_frame(truths: dict[str, list], predictions: dict[str, list]) -> pd.DataFrame:
    corners = ["x_min", "y_min", "x_max", "y_max"]
    rows: list[dict] = [{"image_id": image, "kind": "image"} for image in truths]
    for image, found in truths.items():
        rows += [
            {"image_id": image, "kind": "truth", **dict(zip(corners, box, strict=True))} for box in found
        ]
    for image, found in predictions.items():
        for score, *box in found:
            rows.append(
                {
                    "image_id": image,
                    "kind": "prediction",
                    "score": score,
                    **dict(zip(corners, box, strict=True)),
                }
            )
    frame = pd.DataFrame(rows, columns=["image_id", "kind", "score", *corners])
    return frame.assign(patient_id=frame["image_id"])


def random_boxes(seed: int) -> tuple[dict[str, list], dict[str, list]]:
    generator = np.random.default_rng(seed)
    truths: dict[str, list] = {}
    predictions: dict[str, list] = {}
    # 53 boxes, a prime: no recall equals a recall point, where rounding would decide.
    for k, count in enumerate([0, 3, 1, 0, 7, 2, 5, 1, 9, 4, 11, 10]):
        image = f"i{k:02d}"
        low = generator.uniform(0, 60, (count, 2))
        truths[image] = np.hstack([low, low + generator.uniform(8, 30, (count, 2))]).tolist()
        found = [np.array(box) + generator.normal(0, 2, 4) for box in truths[image] for _ in range(2)]
        low = generator.uniform(0, 60, (3, 2))
        found += list(np.hstack([low, low + generator.uniform(8, 30, (3, 2))]))
        predictions[image] = [[generator.random(), *box] for box in found]
    return truths, predictions


def coco_precisions(truths: dict[str, list], predictions: dict[str, list], draws: list[str]) -> np.ndarray:
    """AP per threshold from pycocotools on the images in `draws`, repeated ones as separate images."""
    to_xywh = lambda b: [b[0], b[1], b[2] - b[0], b[3] - b[1]]  # noqa: E731
    annotations, results = [], []
    for number, image in enumerate(draws, start=1):
        for box in truths[image]:
            area = (box[2] - box[0]) * (box[3] - box[1])
            entry = {"image_id": number, "category_id": 1, "bbox": to_xywh(box), "area": area, "iscrowd": 0}
            annotations.append({**entry, "id": len(annotations) + 1})
        for score, *box in predictions[image]:
            results.append({"image_id": number, "category_id": 1, "bbox": to_xywh(box), "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images = [{"id": number} for number in range(1, len(draws) + 1)]
        coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.iouThrs = THRESHOLDS
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, 0, 2].mean(axis=1)


def test_detection_equals_pycocotools() -> None:
    truths, predictions = random_boxes(0)
    frame = boxes_frame(truths, predictions)
    matched = match_images(frame, units(frame))
    ours = average_precisions(matched, np.ones((1, len(truths))))[:, 0]
    np.testing.assert_allclose(ours, coco_precisions(truths, predictions, sorted(truths)), atol=1e-9)
    assert ours[0] > 0.5 > ours[-1]


def test_detection_resample_equals_repeating_images() -> None:
    truths, predictions = random_boxes(1)
    frame = boxes_frame(truths, predictions)
    matched = match_images(frame, units(frame))
    generator = np.random.default_rng(2)
    names = sorted(truths)
    for _ in range(5):
        draw = sorted(generator.integers(len(names), size=len(names)))
        weights = np.bincount(draw, minlength=len(names))[None].astype(np.float32)
        ours = average_precisions(matched, weights)[:, 0]
        expected = coco_precisions(truths, predictions, [names[k] for k in draw])
        # Copies of one box share a score: pycocotools enters them one by one, here they enter together.
        np.testing.assert_allclose(ours, expected, atol=0.03)


BOX = [10.0, 10.0, 20.0, 20.0]
FAR = [50.0, 50.0, 60.0, 60.0]


@pytest.mark.parametrize(
    ("truths", "predictions", "expected"),
    [
        ({"a": [BOX]}, {"a": [[0.9, *BOX]]}, 1.0),
        ({"a": [BOX]}, {}, 0.0),
        ({"a": [], "b": []}, {"a": [[0.9, *BOX]]}, np.nan),
        ({"a": [], "b": []}, {}, np.nan),
        # a duplicate is a false positive behind the hit, and leaves the envelope untouched
        ({"a": [BOX]}, {"a": [[0.9, *BOX], [0.8, *BOX]]}, 1.0),
        # a false alarm on a negative image counts
        ({"a": [BOX], "b": []}, {"a": [[0.8, *BOX]], "b": [[0.9, *BOX]]}, 0.5),
        # and with a tied score it counts whichever comes first
        ({"a": [BOX], "b": []}, {"a": [[0.8, *BOX]], "b": [[0.8, *BOX]]}, 0.5),
        ({"a": [], "b": [BOX]}, {"a": [[0.8, *BOX]], "b": [[0.8, *BOX]]}, 0.5),
        # one of two found: 51 of 101 recall points
        ({"a": [BOX, FAR]}, {"a": [[0.9, *BOX]]}, 51 / 101),
    ],
)
def test_detection_by_hand(truths: dict, predictions: dict, expected: float) -> None:
    frame = boxes_frame(truths, predictions)
    metrics = detection_metrics(frame)
    value = metrics.compute(np.ones((1, len(truths))))["map_40_75", ""][0]
    assert value == pytest.approx(expected, nan_ok=True)
    nothing = metrics.baselines["predict_nothing"](np.ones((1, len(truths))))["map_40_75", ""][0]
    assert np.isnan(nothing) if np.isnan(expected) else nothing == 0


def test_image_sets_of_peers_forgive_what_they_leave_out() -> None:
    # One hit, one missed image, one false alarm on a normal that outscores the hit.
    frame = boxes_frame({"a": [BOX], "b": [BOX], "c": []}, {"a": [[0.8, *BOX]], "c": [[0.9, *BOX]]})
    metrics = detection_metrics(frame, ["map_40_75_positive", "map_40_75_mgca"])
    values = {key[0]: value[0] for key, value in metrics.compute(np.ones((1, 3))).items()}
    assert values["map_40_75"] == pytest.approx(51 / 101 / 2)
    assert values["map_40_75_positive"] == pytest.approx(51 / 101)
    assert values["map_40_75_mgca"] == 1
    nothing = metrics.baselines["predict_nothing"](np.ones((1, 3)))
    assert nothing["map_40_75_positive", ""][0] == 0
    assert np.isnan(nothing["map_40_75_mgca", ""][0])
    assert ("map_40_75_mgca", "") not in detection_metrics(frame).compute(np.ones((1, 3)))


def test_no_prediction_at_all_leaves_mgcas_set_empty() -> None:
    metrics = detection_metrics(boxes_frame({"a": [BOX], "b": []}, {}), ["map_40_75_mgca"])
    assert np.isnan(metrics.compute(np.ones((1, 2)))["map_40_75_mgca", ""][0])


def test_dice_of_findings_by_hand() -> None:
    """One finding is found half, one is missed, and one that is neither there nor predicted is left out."""
    rows = [
        ("a", "Mass", 2, 2, 2, 4),
        ("b", "Mass", 0, 0, 0, 0),
        ("a", "Nodule", 0, 1, 0, 0),
        ("b", "Nodule", 0, 0, 3, 3),
        ("a", "Effusion", 0, 0, 0, 0),
        ("b", "Effusion", 0, 0, 0, 0),
    ]
    frame = pd.DataFrame(rows, columns=["image_id", "finding", "tp", "fp", "fn", "n_mask"])
    metrics = segmentation_metrics(frame.assign(patient_id=frame["image_id"]))
    found = metrics.compute(np.array([[1.0, 1.0], [1.0, 0.0]]))
    assert found["dice_pooled", "Mass"].tolist() == [0.5, 0.5]
    assert found["dice_pooled", "Nodule"].tolist() == [0.0, 0.0]
    assert np.isnan(found["dice_pooled", "Effusion"]).all()
    assert found["dice_pooled_macro", ""].tolist() == [0.25, 0.25]
    assert (metrics.n_test["Mass"], metrics.n_pos["Mass"], metrics.n_pos[""]) == (2, 1, 2)
    nothing = metrics.baselines["predict_nothing"](np.ones((1, 2)))
    assert nothing["dice_pooled_macro", ""].tolist() == [0.0]
