"""How far protocols and encoders move a number, on rows whose answer is worked out by hand."""

from typing import Any

import pandas as pd
import pytest

from prior.results.spread import OWN, spread
from prior.results.wide import own_metric

SEGMENTATION = {"task": "segmentation", "dataset": "siim", "metric": "dice_pooled", "at": "10 %"}
STRICT = {**SEGMENTATION, "protocol": "strict_small", "setting": "frozen"}
MGCA = {**SEGMENTATION, "protocol": "mgca", "setting": "frozen_siim"}


def _spread(*rows: dict[str, Any]) -> pd.DataFrame:
    """The spread of rows that have of a view what it reads."""
    view = pd.DataFrame(rows).assign(finding="", contamination="", fraction=0.1)
    text = view["dataset"] + ", " + view["protocol"] + " " + view["setting"]
    return spread(view.assign(setting_text=text, encoder=~view["label"].str.startswith("predict")))


def test_both_spans_are_means_over_the_other() -> None:
    frame = _spread(
        {**STRICT, "label": "convirt", "value": 0.4},
        {**STRICT, "label": "prior", "value": 0.5},
        {**MGCA, "label": "convirt", "value": 0.6},
        {**MGCA, "label": "prior", "value": 0.8},
        {**MGCA, "label": "convirt", "metric": "dice_image_all", "value": 0.9},
        {**MGCA, "label": "prior", "metric": "dice_image_all", "value": 0.9},
    ).set_index("number")
    leading = frame.loc["Segmentation · siim · 10 % · Dice, pooled pixels"]
    # By protocol: (.6 - .4 + .8 - .5) / 2; by encoder: (.1 + .2) / 2.
    assert (leading["by protocol"], leading["by encoder"]) == ("0.250", "0.150")
    assert leading["lowest"] == "0.450 (strict_small frozen)"
    assert leading["highest"] == "0.700 (mgca frozen_siim)"
    own = frame.loc[f"Segmentation · siim · 10 % · {OWN}"]
    assert (own["by protocol"], own["by encoder"]) == ("0.450", "0.050")
    assert own["highest"].endswith("Dice per image, all images)")


def test_only_encoders_of_every_protocol_count() -> None:
    frame = _spread(
        {**STRICT, "label": "random", "value": 0.0},
        {**STRICT, "label": "convirt", "value": 0.4},
        {**STRICT, "label": "predict_nothing", "value": 0.0},
        {**STRICT, "label": "prior", "value": 0.5},
        {**MGCA, "label": "convirt", "value": 0.6},
        {**MGCA, "label": "prior", "value": 0.8},
        {**MGCA, "setting": "alone", "label": "prior", "value": 0.1},
        {**MGCA, "dataset": "rsna", "label": "prior", "value": 0.1},
    )
    assert list(frame["encoders"]) == ["convirt, prior"]
    assert list(frame["protocols"]) == ["2"]
    assert list(frame["by protocol"]) == ["0.250"]


def test_one_protocol_has_no_spread() -> None:
    assert _spread(
        {**STRICT, "label": "prior", "value": 0.4},
        {**STRICT, "label": "prior", "setting": "finetune", "value": 0.6},
    ).empty


@pytest.mark.parametrize(
    ("task", "protocol", "setting", "metric"),
    [
        ("classification", "benchx", "finetune", "f1_macro"),
        ("classification", "prior", "finetune", "auroc_macro"),
        ("retrieval", "gloria", "reports", "p_at_5_i2t"),
        ("retrieval", "convirt", "queries", "p_at_5_t2i"),
        ("segmentation", "mgca", "frozen_siim", "dice_image_all"),
    ],
)
def test_the_row_of_what_a_protocol_is_led_by(task: str, protocol: str, setting: str, metric: str) -> None:
    assert own_metric(task, protocol, setting) == metric
