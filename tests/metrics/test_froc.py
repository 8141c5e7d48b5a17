"""Free-response ROC against a slow count, and its edge cases by hand."""

import numpy as np
import pandas as pd
import pytest

from prior.metrics.cell import units
from prior.metrics.detection import detection_metrics
from prior.metrics.froc import RATES, find_points, froc

SIDES = ["x_min", "y_min", "x_max", "y_max"]
OBJECT, ELSEWHERE = (0, 0, 4, 4), (20, 20, 24, 24)


def boxes(truths: dict, predictions: dict, images: str = "ab") -> pd.DataFrame:
    """Rows of every image, of true boxes, and of predictions given as (box, score)."""
    rows = [(name, "image", np.nan, *[np.nan] * 4) for name in images]
    rows += [(name, "truth", np.nan, *box) for name, found in truths.items() for box in found]
    rows += [(name, "prediction", s, *box) for name, found in predictions.items() for box, s in found]
    frame = pd.DataFrame(rows, columns=["image_id", "kind", "score", *SIDES])
    return frame.assign(patient_id=frame["image_id"])


def value(frame: pd.DataFrame) -> float:
    weights = np.ones((1, frame["image_id"].nunique()))
    return float(detection_metrics(frame, ["froc"]).compute(weights)["froc", ""][0])


@pytest.mark.parametrize(
    ("truths", "predictions", "expected"),
    [
        ({"a": [OBJECT]}, {}, 0.0),
        ({"a": [OBJECT]}, {"a": [((1, 1, 3, 3), 0.9)]}, 1.0),
        # the centre decides, not the overlap
        ({"a": [OBJECT]}, {"a": [((3, 3, 7, 7), 0.9)]}, 0.0),
        # a second prediction in a found box is neither a hit nor a false alarm
        ({"a": [OBJECT, ELSEWHERE]}, {"a": [(OBJECT, 0.9), (OBJECT, 0.8), (ELSEWHERE, 0.7)]}, 1.0),
        # two images: one false alarm before the hit is half an alarm per image, allowed at five of the rates
        ({"a": [OBJECT]}, {"b": [(ELSEWHERE, 0.9)], "a": [(OBJECT, 0.8)]}, 5 / 7),
        # equal scores enter together, so the alarm counts although it comes later in the table
        ({"a": [OBJECT]}, {"a": [(OBJECT, 0.8)], "b": [(ELSEWHERE, 0.8)]}, 5 / 7),
        # one box in two objects finds both
        ({"a": [OBJECT, (1, 1, 5, 5)]}, {"a": [((1, 1, 4, 4), 0.9)]}, 1.0),
    ],
)
def test_by_hand(truths: dict, predictions: dict, expected: float) -> None:
    assert value(boxes(truths, predictions)) == pytest.approx(expected)


def test_no_true_box_is_undefined_and_predicting_nothing_finds_none() -> None:
    assert np.isnan(value(boxes({}, {"a": [(OBJECT, 0.9)]})))
    metrics = detection_metrics(boxes({"a": [OBJECT]}, {}), ["froc"])
    assert metrics.baselines["predict_nothing"](np.ones((1, 2)))["froc", ""].tolist() == [0.0]


def test_it_is_computed_only_where_a_protocol_asks_for_it() -> None:
    frame = boxes({"a": [OBJECT]}, {"a": [(OBJECT, 0.9)]})
    assert ("froc", "") not in detection_metrics(frame, ["map_40_75"]).compute(np.ones((1, 2)))


def test_a_shape_in_its_box_decides_where_it_is_asked_for() -> None:
    """The same predictions: the centre of the second lies in the box of an object, and in no shape."""
    found = {"a": [(OBJECT, 0.9), ((3, 3, 5, 5), 0.8)], "b": [(ELSEWHERE, 0.7)]}
    frame = boxes({"a": [OBJECT, (2, 2, 6, 6)]}, found)
    frame["n_shapes"] = frame["image_id"].map({"a": 2, "b": 0}).where(frame["kind"] == "image")
    held = iter([[0], [], []])
    frame["shapes"] = [next(held) if kind == "prediction" else None for kind in frame["kind"]]
    values = detection_metrics(frame, ["froc", "froc_shape"]).compute(np.ones((1, 2)))
    # Both objects are found before the first alarm; of shapes one, and the other never.
    assert values["froc", ""][0] == 1
    assert values["froc_shape", ""][0] == 0.5
    nothing = detection_metrics(frame, ["froc_shape"]).baselines["predict_nothing"](np.ones((1, 2)))
    assert nothing["froc_shape", ""].tolist() == [0.0]


def test_a_centre_in_several_shapes_finds_all_and_alarms_in_images_without_any_count() -> None:
    frame = boxes({}, {"a": [(OBJECT, 0.5)], "b": [(OBJECT, 0.6)]})
    frame["n_shapes"] = frame["image_id"].map({"a": 3, "b": 0}).where(frame["kind"] == "image")
    held = iter([[0, 2], []])
    frame["shapes"] = [next(held) if kind == "prediction" else None for kind in frame["kind"]]
    values = detection_metrics(frame, ["froc_shape"]).compute(np.ones((1, 2)))
    # One alarm in two images is allowed at five of the seven rates.
    assert values["froc_shape", ""][0] == pytest.approx(2 / 3 * 5 / 7)


def slow(frame: pd.DataFrame, weights: np.ndarray) -> float:
    """Walk the thresholds downwards and count for each anew."""
    count = dict(zip(sorted(frame["image_id"].unique()), weights, strict=True))
    true, predicted = frame[frame["kind"] == "truth"], frame[frame["kind"] == "prediction"]
    total = sum(count[name] for name in true["image_id"])
    curve = [(0.0, 0.0)]
    for threshold in sorted(set(predicted["score"]), reverse=True):
        alarms = found = 0
        shown = predicted[predicted["score"] >= threshold]
        for name, weight in count.items():
            centres = [((r.x_min + r.x_max) / 2, (r.y_min + r.y_max) / 2) for r in of(shown, name)]
            objects = list(of(true, name))
            hits = [
                [r.x_min <= x <= r.x_max and r.y_min <= y <= r.y_max for r in objects] for x, y in centres
            ]
            alarms += weight * sum(not any(hit) for hit in hits)
            found += weight * sum(any(hit[k] for hit in hits) for k in range(len(objects)))
        curve.append((alarms / sum(count.values()), found / total))
    return float(np.mean([max(s for a, s in curve if a <= rate) for rate in RATES]))


def of(frame: pd.DataFrame, name: str):
    return frame[frame["image_id"] == name].itertuples()


def test_it_equals_a_slow_count_on_weighted_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    images = "abcdefgh"

    def some(most: int) -> list[tuple[int, ...]]:
        corners = generator.integers(0, 20, (generator.integers(0, most), 2))
        return [(int(x), int(y), int(x) + 6, int(y) + 6) for x, y in corners]

    truths = {name: some(4) for name in images}
    predictions = {name: [(b, round(float(generator.random()), 1)) for b in some(9)] for name in images}
    frame = boxes(truths, predictions, images)
    weights = generator.integers(0, 4, (12, len(images))).astype(np.float32)
    monkeypatch.setattr("prior.metrics.froc.CHUNK_ELEMENTS", 100)
    found = froc(find_points(frame, units(frame)), weights)
    np.testing.assert_allclose(found, [slow(frame, row) for row in weights], atol=1e-6)
    assert len(set(found.round(6))) > 5
