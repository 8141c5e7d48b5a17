"""Which protocol and setting gives a task its primary endpoint is stated, never left to the alphabet."""

import pandas as pd
import pytest

from prior.metrics.rows import PROTOCOL_ORDER, SETTING_ORDER, primary
from prior.protocols import load_protocol
from prior.protocols.show import settings


def _rows(*places: tuple[str, str]) -> pd.DataFrame:
    fixed = {"task": "retrieval", "dataset": "mimic_cxr", "metric": "r_at_10_i2t", "finding": ""}
    table = pd.DataFrame(places, columns=["protocol", "setting"]).assign(**fixed)
    return table.assign(method="convirt", split="official", head="", frozen=True, fraction=None)


@pytest.mark.parametrize(
    ("places", "first"),
    [
        ([("strict_small", "one_finding"), ("strict_small", "pairs")], ("strict_small", "pairs")),
        ([("benchx", "reports"), ("strict_small", "one_finding")], ("strict_small", "one_finding")),
        ([("strict_small", "pairs"), ("strict", "one_finding")], ("strict", "one_finding")),
    ],
)
def test_pairs_lead_retrieval_and_our_families_lead_the_others(
    places: list[tuple[str, str]], first: tuple[str, str]
) -> None:
    chosen = primary(_rows(*places))
    assert list(chosen[["protocol", "setting"]].itertuples(index=False, name=None)) == [first]


@pytest.mark.parametrize("family", PROTOCOL_ORDER)
def test_one_setting_of_every_frozen_task_comes_first(family: str) -> None:
    frozen: dict[str, list[str]] = {}
    for task, setting in settings(family):
        stated = load_protocol(family, task, setting)
        if stated["frozen"] and stated.knobs.get("feature") != "metadata":
            frozen.setdefault(task, []).append(setting)
    for task, names in frozen.items():
        assert len(names) == 1 or set(names) & set(SETTING_ORDER), f"{task}: {names}"
