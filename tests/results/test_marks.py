"""Which values are best or not significantly worse, and how tables show it in every format."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_comparisons import cells

from prior.metrics.intervals import holm
from prior.results.latex import latex_document, latex_table
from prior.results.marks import BEST, NOT_WORSE, marked, marks, smaller_is_better, unmarked
from prior.results.tables import tables
from prior.results.view import load_view
from prior.results.wide import protocol_tables, task_tables


def test_best_and_not_worse_follow_the_paired_difference() -> None:
    values = {name: {"classification": mean} for name, mean in (("a", 0.8), ("b", 0.795), ("c", 0.5))}
    rows, replicates = cells({**values, "metadata_only": {"classification": 0.9}}, noise=0.01)
    table = marks(rows, replicates).set_index("method")
    assert table["mark"].to_dict() == {"a": BEST, "b": NOT_WORSE, "c": ""}
    assert table.loc["b", "difference"] == pytest.approx(-0.005)
    assert table.loc[["b", "c"], "p_holm"].to_list() == pytest.approx(
        holm(table.loc[["b", "c"], "p"].to_list())
    )
    spread = np.std(replicates[1] - replicates[0], ddof=1)
    assert table.loc["b", "ci_high"] == pytest.approx(-0.005 + 1.96 * spread, abs=1e-4)


def test_a_smaller_error_is_better_and_one_method_is_not_compared() -> None:
    rows, replicates = cells({"a": {"classification": 0.1}, "b": {"classification": 0.4}}, noise=0.001)
    table = marks(rows.assign(metric="brier"), replicates).set_index("method")
    assert table["mark"].to_dict() == {"a": BEST, "b": ""}
    assert smaller_is_better("median_rank_i2t")
    assert not smaller_is_better("auroc_macro")
    assert marks(rows[rows["method"] == "a"], replicates).empty


@pytest.mark.parametrize("mark", [BEST, NOT_WORSE, ""])
def test_marks_can_be_read_back(mark: str) -> None:
    assert unmarked(marked("0.8 [0.7, 0.9]", mark)) == ("0.8 [0.7, 0.9]", mark)


def test_latex_escapes_and_keeps_the_marks() -> None:
    frame = pd.DataFrame(
        {
            "method": ["a_b", "c"],
            "Dice · 10 %": ["**0.8 [0.7, 0.9]**", "−0.1<br>Δ 0.2"],
            "p": ["< .001", "0.7 †"],
        }
    )
    text = latex_table(frame, "10 % & more")
    for part in (
        r"\toprule",
        r"\caption{10 \% \& more}",
        r"a\_b & \textbf{0.8 [0.7, 0.9]} & $<$ .001 \\",
        r"c & $-$0.1; $\Delta$ 0.2 & 0.7$^\dagger$ \\",
        r"\shortstack[r]{Dice \\ 10 \%}",
        r"\begin{tabular}{lrr}",
    ):
        assert part in text
    document = latex_document([("x", frame)], ["first\nsecond"])
    assert document.startswith("% \\usepackage{booktabs}\n% first\n% second\n")


def test_tables_hold_the_marks_and_set_the_primary_endpoint_apart(shown: Path) -> None:
    tables(shown)
    folder = shown / "tables"
    names = ["headline", "protocols", "differences", "ranks", "segmentation"]
    for name in names:
        assert r"\begin{tabular}" in (folder / f"{name}.tex").read_text()
        captions = [line for line in (folder / f"{name}.tex").read_text().split("\n") if r"\caption" in line]
        assert captions
        assert all(line.startswith(r"\caption{SIMULATED DATA") for line in captions)
    text = (folder / "segmentation.md").read_text()
    assert "Dice, pooled pixels (primary at 10 %)" in text
    assert "IoU, pooled pixels (exploratory)" in text
    best = pd.read_csv(folder / "best.csv").query(
        "task == 'segmentation' and mark == 'best' and fraction == 0.1"
    )
    assert text.count("**") >= 2 * len(best)
    assert "primary" in set(pd.read_csv(folder / "segmentation.csv")["role"])


def test_every_metric_of_a_task_is_in_one_table(shown: Path) -> None:
    view = load_view(shown / "results.csv")
    found = task_tables(view[view["task"] == "zero_shot"], "zero_shot")
    titles = [title for _, title in found]
    assert titles[:2] == ["AUROC, macro (primary)", "Further metrics (exploratory)"]
    assert {column for frame in list(found.values())[:2] for column in frame} == set(
        view.loc[
            (view["task"] == "zero_shot") & (view["finding"] == "") & (view["metric"] != "n_unfit"),
            "metric_title",
        ]
    )


def test_two_protocols_stand_side_by_side(shown: Path) -> None:
    view = load_view(shown / "results.csv")
    other = view.assign(
        protocol="mgca", setting_text=view["setting_text"].str.replace("strict_small", "mgca")
    )
    frame = protocol_tables(pd.concat([view, other]))["Segmentation · Dice, pooled pixels · siim"]
    assert list(frame.columns)[-4:] == [
        "10 % · strict_small · unet head · frozen encoder",
        "10 % · strict_small · unet head · fine-tuned encoder",
        "10 % · mgca · unet head · frozen encoder",
        "10 % · mgca · unet head · fine-tuned encoder",
    ]
