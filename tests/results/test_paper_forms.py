"""The cells of an experiment in the arrangement of papers: every figure is one of the long table."""

import re
from pathlib import Path

import pandas as pd
import pytest

from prior.metrics.rows import TASK_TITLES
from prior.results.marks import read_cell
from prior.results.paper_forms import paper_forms, paper_tables
from prior.results.tables import tables
from prior.results.view import load_view

FROZEN = "strict_small, unet head, frozen encoder"


@pytest.fixture(scope="module")
def found(shown: Path) -> dict[str, pd.DataFrame]:
    view, ranks = load_view(shown / "results.csv"), pd.read_csv(shown / "tables" / "ranks.csv")
    return paper_tables(paper_forms(view, ranks))


def value(shown: Path, **place: object) -> str:
    """Percent of the one aggregated row at `place`, with half of its interval."""
    view = load_view(shown / "results.csv")
    view = view[view["finding"] == ""]
    for name, wanted in place.items():
        view = view[view[name] == wanted]
    ((share, low, high),) = view[["value", "ci_low", "ci_high"]].to_numpy()
    return f"{100 * share:.1f} ± {100 * (high - low) / 2:.1f}"


def test_a_table_per_task_with_data_sets_and_shares_side_by_side(
    shown: Path, found: dict[str, pd.DataFrame]
) -> None:
    frame = found[f"PRIOR · Segmentation · Dice per image, positive images · {FROZEN}"]
    assert list(frame.columns) == ["siim · 10 % · 2 seeds"]
    assert list(frame.index) == ["predict nothing", "random", "convirt", "prior"]
    place = {"task": "segmentation", "metric": "dice_image_positive", "fraction": 0.1, "frozen": True}
    for method in frame.index[1:]:
        assert read_cell(frame.loc[method, "siim · 10 % · 2 seeds"]).value == value(
            shown, method=method, **place
        )
    assert any("fine-tuned encoder" in title for title in found)
    assert frame.loc["predict nothing", "siim · 10 % · 2 seeds"] == "0.0"


def test_retrieval_and_zero_shot_stand_by_metric(shown: Path, found: dict[str, pd.DataFrame]) -> None:
    frame = found[f"PRIOR · {TASK_TITLES['retrieval']}"]
    cuts = [re.search(r"@ (\d+), (\w+)", name).groups() for name in frame.columns]  # type: ignore[union-attr]
    assert cuts == [(k, side) for side in ("image", "report") for k in ("1", "5", "10")]
    assert list(frame.index) == ["chance", "convirt", "prior"]
    cell = frame.loc["prior", frame.columns[1]]
    assert read_cell(cell).value == value(shown, method="prior", metric="p_at_5_i2t")
    names = list(found["PRIOR · Zero-shot classification"].columns)
    assert [name.split(" · ")[1] for name in names] == ["Accuracy, 5x200", "AUROC, macro"]


def test_five_tasks_in_one_table_of_frozen_encoders(shown: Path, found: dict[str, pd.DataFrame]) -> None:
    frame = found["PLACE · five tasks, frozen encoders"]
    tasks = list(dict.fromkeys(name.split(" · ")[0] for name in frame.columns))
    assert tasks == ["Classification", "Image–report retrieval", "Segmentation", "Detection"]
    column = "Detection · mAP, IoU .40–.75 · rsna · 10 % · primary · 2 seeds"
    cell = read_cell(frame.loc["convirt", column]).value
    assert cell == value(shown, method="convirt", metric="map_40_75", fraction=0.1, frozen=True)
    assert not any("Zero-shot" in name for name in frame.columns)


def test_average_ranks_are_those_of_the_rank_table(shown: Path, found: dict[str, pd.DataFrame]) -> None:
    ranks = pd.read_csv(shown / "tables" / "ranks.csv")
    assert ranks["block"].nunique() == 2
    for block, rows in ranks.groupby("block"):
        frame = found[f"BenchX · {block}: mean (rank)"]
        averages = [text.split(" [")[0] for text in frame["average rank"]]
        assert averages == [f"{rank:.2f}" for rank in rows["mean_rank"]]
        places = frame.drop(columns="average rank").map(lambda text: float(text.split("(")[1].rstrip(")")))
        assert list(frame.index) == rows["method"].tolist()
        assert places.mean(axis=1).tolist() == pytest.approx(rows["mean_rank"].tolist())
    assert frame.loc["prior", "Segmentation · primary"].split(" (")[0] == value(
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


def test_the_csv_has_every_cell_of_the_tables(shown: Path, found: dict[str, pd.DataFrame]) -> None:
    tables(shown)
    table = pd.read_csv(shown / "tables" / "papers.csv")
    assert set(table["form"]) == set(found)
    for title, frame in found.items():
        cells = table[table["form"] == title]
        assert len(cells) == (frame != "").to_numpy().sum()
        assert set(cells["role"]) <= {"primary", "exploratory"}
        assert cells["simulated"].all()
    measured = table[~table["method"].isin(["chance", "predict nothing"]) & table["value"].notna()]
    assert (measured["ci_low"] <= measured["value"]).all()
    assert measured.loc[measured["column"] != "average rank", "n_seeds"].ge(1).all()


def test_settings_that_differ_are_never_one_column(shown: Path) -> None:
    """A second way of tuning, of the same protocol with the same head, and a second protocol."""
    view, ranks = load_view(shown / "results.csv"), pd.read_csv(shown / "tables" / "ranks.csv")
    tuned = view[(view["task"] == "segmentation") & ~view["frozen"]]
    words = tuned["setting_text"] + " 2"
    other = tuned.assign(setting="finetune_last_stage", setting_text=words, value=tuned["value"] + 0.1)
    frozen = view[(view["task"] == "segmentation") & view["frozen"]]
    family = frozen.assign(
        protocol="mgca", protocol_text="mgca", setting_text="siim, mgca", role="exploratory"
    )
    tables_found = paper_tables(paper_forms(pd.concat([view, other, family]), ranks))
    (title,) = [name for name in tables_found if "Segmentation" in name and "fine-tuned" in name]
    assert len(tables_found[title].columns) == 2 * tuned["at"].nunique()
    place = [name for name in tables_found["PLACE · five tasks, frozen encoders"] if "Segmentation" in name]
    assert {"mgca" in name for name in place} == {True, False}
    assert all("strict_small" in name or "mgca" in name for name in place)
