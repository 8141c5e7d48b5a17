"""The cells of an experiment in the arrangement of papers: every figure is one of the long table."""

import re
from pathlib import Path

import pandas as pd
import pytest

from prior.metrics.rows import TASK_TITLES
from prior.results.marks import read_cell
from prior.results.paper_forms import paper_tables
from prior.results.tables import tables
from prior.results.view import load_view

FROZEN = "strict_small, unet head, frozen encoder"


@pytest.fixture(scope="module")
def found(shown: Path) -> dict[str, pd.DataFrame]:
    return paper_tables(load_view(shown / "results.csv"), pd.read_csv(shown / "tables" / "ranks.csv"))


def value(shown: Path, **place: object) -> str:
    """Percent of the one aggregated row at `place`."""
    view = load_view(shown / "results.csv")
    view = view[view["finding"] == ""]
    for name, wanted in place.items():
        view = view[view[name] == wanted]
    (share,) = view["value"]
    return f"{100 * share:.1f}"


def test_a_table_per_task_with_data_sets_and_shares_side_by_side(
    shown: Path, found: dict[str, pd.DataFrame]
) -> None:
    frame = found[f"PRIOR · Segmentation · Dice per image, positive images · {FROZEN}"]
    assert list(frame.columns) == ["siim · 1 %", "siim · 10 %"] or list(frame.columns) == ["siim · 10 %"]
    assert list(frame.index) == ["random", "convirt", "prior"]
    place = {"task": "segmentation", "metric": "dice_image_positive", "fraction": 0.1, "frozen": True}
    for method in frame.index:
        assert read_cell(frame.loc[method, "siim · 10 %"]).value == value(shown, method=method, **place)
    assert any("fine-tuned encoder" in title for title in found)
    assert "predict nothing" not in str(found)


def test_retrieval_and_zero_shot_stand_by_metric(shown: Path, found: dict[str, pd.DataFrame]) -> None:
    frame = found[f"PRIOR · {TASK_TITLES['retrieval']}"]
    cuts = [re.search(r"@ (\d+), (\w+)", name).groups() for name in frame.columns]  # type: ignore[union-attr]
    assert cuts == [(k, side) for side in ("image", "report") for k in ("1", "5", "10")]
    assert list(frame.index) == ["convirt", "prior"]
    cell = frame.loc["prior", frame.columns[1]]
    assert read_cell(cell).value == value(shown, method="prior", metric="p_at_5_i2t")
    names = list(found["PRIOR · Zero-shot classification"].columns)
    assert [name.split(" · ")[1] for name in names] == ["Accuracy, 5x200", "AUROC, macro"]


def test_five_tasks_in_one_table_of_frozen_encoders(shown: Path, found: dict[str, pd.DataFrame]) -> None:
    frame = found["PLACE · five tasks, frozen encoders"]
    tasks = list(dict.fromkeys(name.split(" · ")[0] for name in frame.columns))
    assert tasks == ["Classification", "Image–report retrieval", "Segmentation", "Detection"]
    column = "Detection · mAP, IoU .40–.75 · rsna · 10 %"
    cell = read_cell(frame.loc["convirt", column]).value
    assert cell == value(shown, method="convirt", metric="map_40_75", fraction=0.1, frozen=True)
    assert not any("Zero-shot" in name for name in frame.columns)


def test_average_ranks_are_those_of_the_rank_table(shown: Path, found: dict[str, pd.DataFrame]) -> None:
    ranks = pd.read_csv(shown / "tables" / "ranks.csv")
    assert ranks["block"].nunique() == 2
    for block, rows in ranks.groupby("block"):
        frame = found[f"BenchX · {block}: mean (rank)"]
        assert frame["average rank"].tolist() == [f"{rank:.2f}" for rank in rows["mean_rank"]]
        places = frame.drop(columns="average rank").map(lambda text: float(text.split("(")[1].rstrip(")")))
        assert list(frame.index) == rows["method"].tolist()
        assert places.mean(axis=1).tolist() == pytest.approx(rows["mean_rank"].tolist())
    assert frame.loc["prior", "Segmentation"].split(" (")[0] == value(
        shown, method="prior", metric="dice_pooled", fraction=0.1, frozen=True
    )


def test_the_document_says_what_it_is(shown: Path) -> None:
    tables(shown)
    text = (shown / "tables" / "papers.md").read_text()
    assert "no figure is a paper's" in text
    titles = [line for line in text.split("\n") if line.startswith("#")]
    assert len(titles) > 6
    assert all(line.lstrip("# ").startswith("SIMULATED DATA") for line in titles)
    assert r"\begin{tabular}" in (shown / "tables" / "papers.tex").read_text()
    assert "Nothing to show" in (shown / "tables" / "subgroups.md").read_text()
