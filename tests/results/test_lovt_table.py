"""LoVT's table: its eighteen tasks, each with the figure of the long table, and what was refused."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prior import params
from prior.graph import Graph
from prior.metrics.rows import AGGREGATED_COLUMNS, TEXT_COLUMNS
from prior.protocols import load_protocol
from prior.results.beside import beside_published
from prior.results.collect import OMITTED_COLUMNS
from prior.results.leaderboard import leaderboard_rows
from prior.results.lovt_table import AVERAGE, HEADING, lovt_csv, lovt_rows, lovt_tables, lovt_tasks, refusals
from prior.results.page import papers_section
from prior.results.tables import Document, _columns
from prior.results.view import load_view

PROJECT = Path(__file__).parents[2]
VALUES = {"random": 0.1, "convirt": 0.2, "lovt": 0.3}


def graph(*overlays: str) -> Graph:
    paths = [PROJECT / f"workflow/experiments/{name}.yaml" for name in overlays]
    return Graph(params.load(PROJECT / "params.yaml", *paths), PROJECT)


def row(task: Any, method: str, value: float, **changes: Any) -> dict[str, Any]:
    shared = {"experiment": "lovt18", "variant": "default", "simulated": True, "protocol": "lovt"}
    place = {
        name: getattr(task, name) for name in ("task", "dataset", "head", "frozen", "fraction", "metric")
    }
    sizes = {"ci_low": value - 0.05, "ci_high": value + 0.05, "n_test": 200, "n_pos": 40, "n_train": 16}
    return {**shared, **place, **sizes, "method": method, "value": value, **changes}


def results(folder: Path, left_out: tuple[str, str] = ("", "")) -> Path:
    """A `results.csv` of three methods, without the cell of a method and setting, and `omitted.csv`."""
    rows = []
    for number, task in enumerate(lovt_tasks()):
        for method, value in VALUES.items():
            if (method, task.setting) != left_out:
                rows.append(row(task, method, value + number / 1000))
                # a metric that the setting does not lead with, and another protocol
                rows.append(row(task, method, 0.9, metric="iou_pooled"))
                rows.append(row(task, method, 0.9, protocol="strict_small"))
    rows += [{**found, "seed": seed, "pretrain_seed": 0} for found in rows for seed in (0, 1)]
    table = pd.DataFrame(rows).reindex(columns=AGGREGATED_COLUMNS)
    table = table.astype(dict.fromkeys(TEXT_COLUMNS, object)).fillna(dict.fromkeys(TEXT_COLUMNS, ""))
    folder.mkdir(parents=True)
    table.to_csv(folder / "results.csv", index=False)
    return folder


def omitted(*places: tuple[str, str]) -> pd.DataFrame:
    shared = {"variant": "default", "protocol": "lovt", "reason": "12 training images, fewer than 16"}
    rows = [
        {**shared, "method": method, "setting": setting, "seed": s}
        for method, setting in places
        for s in (0, 1)
    ]
    return pd.DataFrame(rows, columns=OMITTED_COLUMNS)


def test_the_tasks_are_the_eighteen_of_the_paper_in_its_parts() -> None:
    tasks = lovt_tasks()
    counts = pd.Series([task.dataset for task in tasks]).value_counts(sort=False).to_dict()
    assert counts == {"rsna": 9, "covid_rural": 3, "siim": 2, "object_cxr": 3, "nih_boxes": 1}
    of_rsna = [(task.head, task.frozen, task.fraction) for task in tasks if task.dataset == "rsna"]
    heads = [("yolo", False), ("yolo", True), ("linear", True)]
    assert of_rsna == [(*head, share) for head in heads for share in (0.01, 0.1, 1.0)]
    assert [t.metric for t in tasks if t.dataset == "object_cxr"] == ["froc", "froc", "dice_pooled"]
    assert len({task.title for task in tasks}) == 18


# Learning rates, batch, epochs and patience of each task, as LoVT's configurations state them.
RECIPES = {
    "rsna_frozen_1": ([3e-4, 1e-3], 8, 500, 20),
    "rsna_frozen_10": ([1e-3], 64, 100, 10),
    "rsna_frozen_100": ([3e-4, 1e-3], 64, 50, 10),
    "rsna_finetune_1": ([1e-4, 3e-4], 8, 500, 20),
    "rsna_finetune_10": ([3e-4, 1e-3], 64, 100, 10),
    "rsna_finetune_100": ([1e-4, 3e-4], 64, 50, 10),
    "rsna_seg_linear_1": ([1e-4, 3e-3, 1e-2, 3e-2], 8, 500, 20),
    "rsna_seg_linear_10": ([1e-3, 3e-3, 1e-2, 3e-2], 64, 100, 10),
    "rsna_seg_linear_100": ([1e-3, 3e-3, 1e-2, 3e-2], 64, 50, 10),
    "covid_unet_finetune": ([1e-4, 3e-4], 8, 100, 20),
    "covid_unet_frozen": ([1e-4, 3e-4, 1e-3], 8, 100, 20),
    "covid_linear": ([1e-3, 3e-3, 1e-2, 3e-2], 8, 100, 20),
    "pneumothorax_unet_finetune_100": ([1e-5, 3e-5], 64, 50, 10),
    "pneumothorax_unet_frozen_100": ([1e-5, 3e-5], 64, 50, 10),
    "object_finetune_100": ([3e-4, 1e-3], 64, 100, 10),
    "object_frozen_100": ([1e-3, 3e-3], 64, 100, 10),
    "object_seg_linear_100": ([1e-2, 3e-2, 1e-1, 3e-1], 64, 100, 10),
    "nih_seg_linear": ([1e-2, 3e-2, 1e-1], 64, 100, 10),
}


def test_each_task_has_its_own_recipe() -> None:
    found = {}
    for task in lovt_tasks():
        knobs = load_protocol("lovt", task.task, task.setting)
        assert (knobs["optimiser"], knobs["weight_decay"], knobs["augmentation"]) == ("Adam", 1e-6, {})
        found[task.setting] = tuple(knobs[n] for n in ("learning_rates", "batch", "epochs", "patience"))
        start = None if task.frozen else (20 if task.dataset == "covid_rural" else 100)
        assert knobs.knobs.get("head_first", {}).get("steps") == start
    assert found == RECIPES


def test_the_overlay_runs_each_task_with_five_seeds_where_it_holds() -> None:
    overlay = graph("lovt18")
    assert overlay.has_lovt18()
    assert not graph().has_lovt18()
    assert not graph("protocols").has_lovt18()
    of = {(e.task, e.setting): e for e in overlay.params.evaluations}
    for task in lovt_tasks():
        evaluation = of[task.task, task.setting]
        assert (evaluation.dataset, evaluation.fractions) == (task.dataset, [task.fraction])
        assert (
            len(set(evaluation.seeds))
            == load_protocol("lovt", task.task, task.setting)["seeds_at_all_labels"]
            == 5
        )
    assert "results/tables/lovt18.csv" in overlay.result_files()
    assert not [file for file in graph().result_files() if "lovt18" in file]


def test_every_cell_is_the_figure_of_the_long_table(tmp_path: Path) -> None:
    rows = lovt_rows(load_view(results(tmp_path / "a") / "results.csv"), omitted())
    first, second = lovt_tables(rows).values()
    assert [len(part.columns) for part in (first, second)] == [9, 10]
    wide = pd.concat([first, second], axis=1)
    assert list(wide.index) == ["random", "convirt", "lovt"]
    for number, task in enumerate(lovt_tasks()):
        for method, value in VALUES.items():
            shown = re.match(r"[\d.]+", wide.loc[method, task.title])
            assert shown is not None
            assert float(shown[0]) == pytest.approx(value + number / 1000, abs=5e-4)
    mean = sum(range(18)) / 18 / 1000
    for method, value in VALUES.items():
        assert float(second.loc[method, AVERAGE]) == pytest.approx(value + mean, abs=1e-3)
    assert len(lovt_csv(rows)) == 18 * len(VALUES)


def test_refused_cells_say_so_and_have_no_average(tmp_path: Path) -> None:
    view = load_view(results(tmp_path / "a", ("convirt", "rsna_frozen_1")) / "results.csv")
    left_out = omitted(("convirt", "rsna_frozen_1"))
    first, second = lovt_tables(lovt_rows(view, left_out)).values()
    title = next(task.title for task in lovt_tasks() if task.setting == "rsna_frozen_1")
    assert first.loc["convirt", title] == "refused"
    assert second.loc["convirt", AVERAGE] == "–"
    assert second.loc["random", AVERAGE] != "–"
    (note,) = refusals(left_out)
    assert note.count("rsna_frozen_1: 12 training images, fewer than 16") == 1
    again, _ = lovt_tables(lovt_rows(view, omitted())).values()
    assert again.loc["convirt", title] == "not run"
    assert refusals(omitted()) == []
    state = lovt_csv(lovt_rows(view, left_out)).set_index(["method", "lovt_task"])["state"]
    assert state["convirt", "rsna_frozen_1"] == "refused"


def test_a_task_that_every_method_was_refused_keeps_its_column(tmp_path: Path) -> None:
    view = load_view(results(tmp_path / "a") / "results.csv")
    view = view[~((view["fraction"] == 0.01) & (view["head"] == "yolo") & view["frozen"])]
    first, _ = lovt_tables(lovt_rows(view, omitted(*((m, "rsna_frozen_1") for m in VALUES)))).values()
    title = next(task.title for task in lovt_tasks() if task.setting == "rsna_frozen_1")
    assert set(first[title]) == {"refused"}


def test_the_document_says_that_the_data_are_simulated(tmp_path: Path) -> None:
    rows = lovt_rows(load_view(results(tmp_path / "a") / "results.csv"), omitted())
    found = {name: _columns(wide) for name, wide in lovt_tables(rows).items()}
    Document("lovt18", "LoVT's localized tasks", [], found, bool(rows["simulated"].any())).write(tmp_path)
    for suffix in ("md", "tex"):
        assert "SIMULATED DATA" in (tmp_path / f"lovt18.{suffix}").read_text()


def test_the_page_shows_the_table_with_its_cells_opening_their_runs(tmp_path: Path) -> None:
    folder = results(tmp_path / "a", ("convirt", "rsna_frozen_1"))
    (folder / "tables").mkdir(exist_ok=True)
    columns = ["block", "tasks", "method", "variant", "pretraining_data"]
    pd.DataFrame(columns=columns).to_csv(folder / "tables" / "ranks.csv", index=False)
    omitted(("convirt", "rsna_frozen_1")).to_csv(folder / "omitted.csv", index=False)
    view = leaderboard_rows(beside_published(load_view(folder / "results.csv")))
    section = papers_section(view, folder, with_lovt18=True)
    shown = [table for table in section.tables if HEADING in table["title"]]
    assert all(table["title"].startswith("SIMULATED DATA") for table in shown)
    content = "".join(table["content"] for table in shown)
    assert content.count("refused") == 1
    assert AVERAGE in content
    opened = re.findall(r'data-row="(\d+)">(?:<strong>)?([\d.]+)', content)
    assert len(opened) == 18 * len(VALUES) - 1
    values = view.set_index("row")["value"]
    assert all(float(text) == pytest.approx(values[row], abs=5e-4) for row, text in opened)
    assert any("Refused" in note for note in section.notes)
    without = papers_section(view, folder, with_lovt18=False)
    assert not any(HEADING in table["title"] for table in without.tables)
