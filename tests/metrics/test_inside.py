"""Metrics of grounding and of prototype banks, with values by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from prior.metrics.grounding import grounding_metrics
from prior.metrics.prototypes import prototype_metrics


def grounding_frame() -> pd.DataFrame:
    rows = [
        ("a", "p", "Edema", 1.0, 2.0, 0.5, 0.1),
        ("b", "p", "Edema", 0.0, -1.0, 0.3, 0.3),
        ("b", "p", "Fracture", 0.5, np.nan, 1.0, 1.0),
        ("c", "q", "Fracture", 0.5, 0.5, 0.2, 0.2),
    ]
    return pd.DataFrame(rows, columns=["image_id", "patient_id", "finding", "hit", "cnr", "miou", "area"])


def test_grounding_averages_over_images_and_then_over_findings() -> None:
    metrics = grounding_metrics(grounding_frame())
    values = {
        key: value.tolist() for key, value in metrics.compute(np.array([[1.0, 1, 1], [0, 2, 1]])).items()
    }
    assert values["pointing_game", "Edema"] == [0.5, 0]
    assert values["pointing_game", ""] == [0.5, 0.25]
    assert values["cnr", "Edema"] == [1.5, 1]
    assert values["cnr_signed", "Edema"] == [0.5, -1]
    # The region that covers the whole image has no contrast and is left out.
    assert values["cnr", "Fracture"] == [0.5, 0.5]
    assert values["miou", "Fracture"] == [pytest.approx(0.6), pytest.approx(2.2 / 3)]
    assert metrics.n_test == {"": 3, "Edema": 2, "Fracture": 2}


def test_grounding_chance_is_the_area_share() -> None:
    metrics = grounding_metrics(grounding_frame())
    chance = metrics.baselines["chance"](np.ones((1, 3)))
    assert chance["pointing_game", "Edema"].tolist() == [pytest.approx(0.2)]
    assert chance["pointing_game", ""].tolist() == chance["miou", ""].tolist() == [pytest.approx(0.4)]
    assert chance["cnr", ""].tolist() == chance["cnr_signed", ""].tolist() == [0]


def test_one_finding_has_macro_rows_only() -> None:
    frame = grounding_frame().query("finding == 'Edema'")
    assert {finding for _, finding in grounding_metrics(frame).compute(np.ones((1, 2)))} == {""}


def test_an_undefined_contrast_everywhere_stays_undefined() -> None:
    values = grounding_metrics(grounding_frame().iloc[[2]]).compute(np.ones((1, 1)))
    assert math.isnan(values["cnr", ""][0])
    assert values["pointing_game", ""].tolist() == [0.5]


def bank_frame() -> pd.DataFrame:
    rows = [("a", "p", 0, 1.0), ("a", "p", 0, 2.0), ("a", "p", 3, 0.0), ("b", "q", 0, 5.0)]
    frame = pd.DataFrame(rows, columns=["image_id", "patient_id", "nearest", "entropy"])
    return frame.assign(n_prototypes=4)


def test_bank_metrics_by_hand() -> None:
    metrics = prototype_metrics(bank_frame())
    values = {
        name: value.tolist() for (name, _), value in metrics.compute(np.array([[1.0, 1], [0, 2]])).items()
    }
    assert values["dead_prototypes"] == [0.5, 0.75]
    assert values["dead_prototypes_count"] == [2, 3]
    assert values["assignment_entropy"] == [2, 5]
    spread = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert values["used_perplexity"] == [pytest.approx(math.exp(spread)), 1]
    assert metrics.baselines == {}


def test_a_bank_that_is_used_evenly_has_no_dead_prototype() -> None:
    frame = pd.DataFrame({"image_id": list("abcd"), "patient_id": list("abcd"), "nearest": range(4)})
    values = prototype_metrics(frame.assign(entropy=0.0, n_prototypes=4)).compute(np.ones((1, 4)))
    assert values["dead_prototypes", ""].tolist() == [0]
    assert values["used_perplexity", ""].tolist() == [pytest.approx(4)]
