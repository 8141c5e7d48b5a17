"""Every published figure of a protocol family of ours has a cell to stand beside, or says why not."""

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
from small_table import frame, write

from prior.cli import app
from prior.datasets import READERS
from prior.metrics.rows import UNTRAINED_TASKS
from prior.metrics.score import COLUMNS, cell_metrics
from prior.protocols import load_protocol
from prior.protocols.show import families, settings
from prior.results.beside import against_published, beside_published, grey_text
from prior.results.published import by_cell, load_published
from prior.results.published_figure import Published
from prior.results.tables import _lovt18, _task
from prior.results.view import load_view

PLACES = [(family, task, setting) for family in families() for task, setting in settings(family)]
OURS = [f for f in load_published() if (f.family, f.task) in {place[:2] for place in PLACES}]
SAYS_WHY = "no counterpart here: "
LABEL_FRACTIONS = (0.01, 0.1, 1.0)


def predictions(task: str, asked: Sequence[str]) -> pd.DataFrame:
    """Predictions of four images, as the task writes them where the protocol asks for these metrics."""
    n = 4
    found = pd.DataFrame({"image_id": [f"i{k}" for k in range(n)], "patient_id": [f"p{k}" for k in range(n)]})
    label = np.arange(n) % 2
    if task in ("classification", "zero_shot"):
        found = found.assign(finding="Edema", score=0.2 + 0.5 * label, label=label, threshold=0.5)
        classes = [found.assign(finding="5x200:A"), found.assign(finding="5x200:B", label=1 - label)]
        return pd.concat([found, *classes]) if task == "zero_shot" else found
    if task == "segmentation":
        found = found.assign(tp=3 * label, fp=1, fn=label, n_mask=4 * label, n_pixels=64)
        return found.assign(finding="Nodule") if "dice_pooled_macro" in asked else found
    if task == "detection":
        box = {"score": 0.9, "x_min": 1.0, "y_min": 1.0, "x_max": 5.0, "y_max": 5.0}
        images = found.assign(kind="image", **dict.fromkeys(box, np.nan), size=64)
        return pd.concat(
            [images, *(found.assign(kind=kind, size=64, **box) for kind in ("truth", "prediction"))]
        )
    if task == "retrieval":
        cuts = sorted({int(name.rpartition("_")[2]) for name in asked if name.startswith("p_at")})
        shares = {f"hits_{k}": 0.5 for k in cuts}
        directions = [
            found.assign(direction=name, rank=1.0, pool=n, n_relevant=2, **shares)
            for name in ("image_to_text", "text_to_image", "image_to_image")
        ]
        return pd.concat(directions, ignore_index=True)
    if task == "report_generation":
        text = "no effusion ."
        return found.assign(study_id=found["image_id"], generated=text, reference=text, frequent=text)
    pytest.fail(f"no predictions of {task}; its published figures were not there when this was written")


@cache
def emitted(family: str, task: str, setting: str) -> frozenset[str]:
    """Names of the metrics of a whole cell that scoring writes in this setting."""
    asked = tuple(load_protocol(family, task, setting)["metrics"])
    made = predictions(task, asked)
    assert set(COLUMNS[task]) <= set(made)
    parts = cell_metrics(task, made, asked)
    keys = [key for part in parts for key in part.compute(np.ones((1, len(part.patients))))]
    return frozenset(metric for metric, finding in keys if not finding)


def cell_of(figure: Published, place: tuple[str, str, str]) -> dict[str, Any] | None:
    """The row that a run of one setting of a protocol writes for the figure's cell; None if it cannot."""
    family, task, setting = place
    knobs = load_protocol(*place).knobs
    if (family, task) != (figure.family, figure.task) or figure.detail:
        return None
    if figure.dataset not in knobs.get("datasets", READERS) or figure.dataset not in READERS:
        return None
    fractions = [None] if task in UNTRAINED_TASKS else knobs.get("fractions", LABEL_FRACTIONS)
    if figure.fraction not in fractions or figure.metric not in emitted(*place):
        return None
    head = "" if knobs["head_name"] == "none" else knobs["head_name"]
    return {
        **{"method": figure.method, "variant": figure.variant, "simulated": False, "setting": setting},
        **{"task": task, "dataset": figure.dataset, "protocol": family, "fraction": figure.fraction},
        **{"head": head, "frozen": knobs["frozen"], "metric": figure.metric, "split": "official"},
        **{"value": figure.value, "ci_low": figure.value - 0.01, "ci_high": figure.value + 0.01},
    }


def joined(figure: Published) -> dict[str, Any] | None:
    """The first row of ours beside which the figure stands; None if there is none."""
    for row in filter(None, (cell_of(figure, place) for place in PLACES)):
        if len(against_published(frame(row), [figure])):
            return row
    return None


def test_every_figure_of_our_families_joins_or_says_why_not() -> None:
    first = [group[0] for group in by_cell(OURS).values()]
    # Methods change nothing about the join; one of each cell is enough.
    cells = {figure.cell[2:]: figure for figure in first}
    silent, wrong = [], []
    for key, figure in cells.items():
        row, excused = joined(figure), SAYS_WHY in figure.note
        silent += [key] if row is None and not excused else []
        wrong += [key] if row is not None and excused else []
    assert not silent, "these stand beside nothing of ours: mend the join, or say why in `note`"
    assert not wrong, "these say that they have no counterpart, but have one"


def test_one_note_of_a_cell_is_every_methods() -> None:
    excuses: dict[Any, set[bool]] = {}
    for figure in OURS:
        excuses.setdefault(figure.cell[2:], set()).add(SAYS_WHY in figure.note)
    assert not [key for key, found in excuses.items() if len(found) > 1]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Any, list[Published]]]:
    """Results on real data with a made-up row for every figure of `convirt` and `prior` that joins."""
    figures = by_cell([f for f in OURS if f.method in ("convirt", "prior") and not f.variant])
    rows = {key: joined(found[0]) for key, found in figures.items()}
    means = [row for row in rows.values() if row]
    cells = [{**row, "seed": 0, "pretrain_seed": 0} for row in means]
    results = write(tmp_path_factory.mktemp("real"), *means, *cells)
    (results / "tables").mkdir()
    omitted = pd.DataFrame(columns=["method", "variant", "protocol", "setting", "reason"])
    omitted.to_csv(results / "omitted.csv", index=False)
    view = beside_published(load_view(results / "results.csv"))
    for task in ("segmentation", "detection"):
        _task(view[view["task"] == task], task).write(results / "tables")
    _lovt18(view, results).write(results / "tables")
    return results, {key: figures[key] for key, row in rows.items() if row}


def test_measured_cells_stand_beside_what_papers_print(measured: Any) -> None:
    results, figures = measured
    assert {key[4] for key in figures} >= {"mgca", "lovt", "benchx", "convirt", "prior"}
    texts = {task: (results / "tables" / f"{task}.md").read_text() for task in ("segmentation", "detection")}
    for task, text in texts.items():
        of_task = [found for key, found in figures.items() if key[2] == task]
        assert of_task
        for found in of_task:
            assert grey_text(found) in text
            assert f"{found[0].value:.3f}" in text


def test_the_nih_column_of_lovts_table_has_its_figure(measured: Any) -> None:
    results, figures = measured
    (nih,) = (found for key, found in figures.items() if key[3] == "nih_boxes")
    text = (results / "tables" / "lovt18.md").read_text()
    heading = next(line for line in text.splitlines() if line.startswith("| method") and "NIH" in line)
    row = next(line for line in text[text.index(heading) :].splitlines() if line.startswith("| convirt"))
    column = next(k for k, name in enumerate(heading.split("|")) if "NIH" in name)
    assert grey_text(nih) in row.split("|")[column]


def test_prior_compare_has_a_verdict_on_every_cell_that_joins(measured: Any) -> None:
    results, figures = measured
    shown = CliRunner().invoke(app, ["compare", "--published", str(results)]).stdout
    assert shown.startswith(f"{len(figures)} of {len(figures)} measured cells lie inside the published span.")
