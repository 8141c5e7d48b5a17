"""Calibration error, decisions and exclusive classes against scikit-learn and by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, precision_score, recall_score

from prior.metrics.calibration import BINS, LEAST_IMAGES, calibration_error, equal_mass_bins
from prior.metrics.classification import at_threshold, finding_metrics
from prior.metrics.exclusive import SUBSET_METRICS, exclusive_metrics
from prior.metrics.score import cell_metrics
from prior.tasks.f1_threshold import best_f1_threshold, best_f1_thresholds

RNG = np.random.default_rng(0)


def test_bins_hold_equal_counts_and_equal_scores_stay_together() -> None:
    scores = RNG.permutation(600) / 600
    assert np.bincount(equal_mass_bins(scores)).tolist() == [600 // BINS] * BINS
    assert len(set(equal_mass_bins(np.full(30, 0.5)))) == 1
    tied = equal_mass_bins(np.repeat([0.1, 0.9], [1, 99]))
    assert len(set(tied[1:])) == 1


def test_calibration_error_is_that_of_scikit_learns_curve() -> None:
    scores = RNG.random(600)
    labels = RNG.random(600) < scores**2
    true, confidence = calibration_curve(labels, scores, n_bins=BINS, strategy="quantile")
    expected = np.abs(true - confidence).mean()
    assert calibration_error(scores, labels, np.ones((1, 600)))[0] == pytest.approx(expected, abs=1e-3)


def test_calibration_error_by_hand_and_under_weights() -> None:
    scores, labels = np.array([0.8, 0.8, 0.2, 0.2]), np.array([True, False, False, False])
    # Two bins: |.8 - .5| and |.2 - 0|.
    assert calibration_error(scores, labels, np.ones((1, 4)))[0] == pytest.approx((0.3 + 0.2) / 2)
    weights = np.array([[2.0, 0, 1, 1], [1, 1, 2, 2]])
    assert calibration_error(scores, labels, weights) == pytest.approx([(0.4 + 0.4) / 4, (0.6 + 0.8) / 6])
    sure = np.array([1.0, 0.0])
    assert calibration_error(sure, np.array([True, False]), np.ones((1, 2)))[0] == 0


def frame_of(n: int) -> pd.DataFrame:
    scores = RNG.random(n)
    labels = (RNG.random(n) < scores).astype(int)
    names = [f"i{k:04d}" for k in range(n)]
    return pd.DataFrame(
        {"image_id": names, "patient_id": names, "finding": "A", "score": scores, "label": labels}
    ).assign(threshold=0.4)


@pytest.mark.parametrize(("n", "given"), [(LEAST_IMAGES, True), (LEAST_IMAGES - 1, False)])
def test_too_few_images_have_no_calibration_error(n: int, given: bool) -> None:
    values = finding_metrics(frame_of(n), True, ["ece"]).compute(np.ones((1, n)))
    assert (("ece", "A") in values) == (("ece", "") in values) == given


def test_decisions_are_those_of_scikit_learn() -> None:
    frame = frame_of(60)
    metrics = finding_metrics(frame, True, ["f1", "accuracy"])
    weights = RNG.integers(0, 4, (9, 60)).astype(float)
    values = metrics.compute(weights)
    for row, f1, accuracy in zip(weights, values["f1", "A"], values["accuracy_macro", ""], strict=True):
        pair = frame["label"], frame["score"] >= 0.4
        assert f1 == pytest.approx(f1_score(*pair, sample_weight=row))
        assert accuracy == pytest.approx(accuracy_score(*pair, sample_weight=row))
    assert ("f1", "A") not in finding_metrics(frame, True).compute(weights)


def test_f1_without_any_positive_on_either_side_is_undefined() -> None:
    none = np.zeros(3, dtype=bool)
    assert np.isnan(at_threshold(none, none, np.ones((1, 3)))["f1"][0])
    assert at_threshold(~none, none, np.ones((1, 3)))["f1"][0] == 0


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=20))
def test_the_threshold_has_the_best_f1_of_all(pairs: list[tuple[int, bool]]) -> None:
    scores, labels = np.array(pairs, dtype=float).T
    threshold = best_f1_threshold(scores / 4, labels)
    if not labels.any():
        assert threshold == 0.5
        return
    reached = {t: f1_score(labels, scores / 4 >= t) for t in np.unique(scores / 4)}
    assert reached[threshold] == pytest.approx(max(reached.values()))


def test_thresholds_leave_out_what_has_no_label() -> None:
    labels = np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, np.nan]])
    found = best_f1_thresholds(np.array([[0.7, 0.1], [0.6, 0.2], [0.9, 0.3]]), labels)
    assert found.tolist() == [0.7, 0.5]


def exclusive_frame(scores: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    n, k = scores.shape
    images = np.repeat([f"i{i:03d}" for i in range(n)], k)
    one_hot = (truth[:, None] == np.arange(k)).astype(int).ravel()
    classes = [f"5x200:{name}" for name in "ABCDE"[:k]] * n
    return pd.DataFrame(
        {
            "image_id": images,
            "patient_id": images,
            "finding": classes,
            "score": scores.ravel(),
            "label": one_hot,
        }
    )


def test_exclusive_metrics_are_those_of_scikit_learn() -> None:
    scores, truth = RNG.random((40, 3)), RNG.integers(0, 3, 40)
    asked = [f"{name}_5x200" for name in SUBSET_METRICS]
    metrics = exclusive_metrics(exclusive_frame(scores, truth), "_5x200", asked)
    weights = RNG.integers(0, 3, (5, 40)).astype(float)
    values = metrics.compute(weights)
    references = {
        "accuracy": accuracy_score,
        "kappa": cohen_kappa_score,
        **{
            f"{name}_macro": lambda *a, f=f, **k: f(*a, average="macro", **k)
            for name, f in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score))
        },
    }
    for name, reference in references.items():
        expected = [reference(truth, scores.argmax(axis=1), sample_weight=row) for row in weights]
        np.testing.assert_allclose(values[f"{name}_5x200", ""], expected)
    assert metrics.baselines["chance"](weights)["accuracy_5x200", ""][0] == pytest.approx(1 / 3)


def test_images_of_several_classes_do_not_count() -> None:
    frame = exclusive_frame(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 0, 1]))
    frame.loc[frame["image_id"] == "i002", "label"] = 1
    metrics = exclusive_metrics(frame, "_exclusive")
    assert metrics.compute(np.ones((1, 3)))["accuracy_exclusive", ""][0] == 0.5
    assert metrics.n_test[""] == 2


def test_a_protocol_asks_for_exclusive_accuracy() -> None:
    frame = exclusive_frame(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0])).assign(threshold=0.5)
    plain, exclusive = cell_metrics("classification", frame, ["accuracy_exclusive"])
    assert exclusive.compute(np.ones((1, 2)))["accuracy_exclusive", ""][0] == 0.5
    assert len(cell_metrics("classification", frame)) == 1
    assert ("accuracy", "5x200:A") not in plain.compute(np.ones((1, 2)))
