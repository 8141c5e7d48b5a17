"""Figure of single seeds: how far the cells behind each mean lie apart."""

from pathlib import Path

import pandas as pd

from prior.metrics.rows import (
    DIAGNOSTIC_TASKS,
    PRIMARY,
    TASK_TITLES,
    WITHOUT_ENCODER,
    method_labels,
    primary,
)
from prior.results.panels import (
    Styles,
    axis_title,
    empty_figure,
    grid_of,
    heading,
    name_rows,
    panel_title,
    styles_of,
)
from prior.results.style import INK, save
from prior.results.view import metric_title

SPREAD = 0.5
"""Height, in rows, over which the seeds of a method are spread."""


def seed_values(rows: pd.DataFrame) -> pd.DataFrame:
    """Primary endpoints of every encoder, seed by seed, folds averaged.

    Args:
        rows: the long table.

    Returns:
        `task`, `dataset`, `label`, `pretrain_seed` (−1 for none), `seed`, `value`.
    """
    rows = rows.assign(label=method_labels(rows), pretrain_seed=rows["pretrain_seed"].fillna(-1))
    cells = primary(rows)
    left_out = cells["task"].isin(DIAGNOSTIC_TASKS) | cells["method"].isin(WITHOUT_ENCODER)
    cells = cells[cells["seed"].notna() & ~left_out]
    place = ["task", "dataset", "label", "pretrain_seed", "seed"]
    return cells.groupby(place)["value"].mean().reset_index()


def seed_figure(rows: pd.DataFrame, styles: Styles, simulated: bool, caption: str, out: Path) -> None:
    """A panel per task and data set, a row per method: a mark per seed, a stroke for their mean."""
    values = seed_values(rows)
    text = "Every seed on the primary metrics, 10 % of the labels, frozen encoders"
    found_places = sorted(set(zip(values["task"], values["dataset"], strict=True)))
    places = [place for task in PRIMARY for place in found_places if place[0] == task]
    if not places:
        save(empty_figure(text, simulated), out)
        return
    styles = styles_of(values, styles)
    figure, grid, columns = grid_of(len(places), len(styles))
    for number, (axes, (task, dataset)) in enumerate(zip(grid, places, strict=True)):
        here = values[(values["task"] == task) & (values["dataset"] == dataset)]
        for line, (label, (colour, marker)) in enumerate(styles.items()):
            found = here.loc[here["label"] == label, "value"].to_numpy()
            if len(found) == 0:
                continue
            height = [line + SPREAD * ((k + 0.5) / len(found) - 0.5) for k in range(len(found))]
            axes.plot(found, height, color=colour, marker=marker, markersize=2.6, linestyle="", alpha=0.8)
            axes.vlines(found.mean(), line - 0.38, line + 0.38, color=INK, linewidth=1)
        panel_title(axes, f"{TASK_TITLES[task]}\n{dataset}")
        axis_title(axes, metric_title(PRIMARY[task]))
        name_rows(axes, list(styles), number % columns == 0)
    heading(figure, text, simulated, "\n".join(filter(None, ["Mark: a seed; stroke: their mean.", caption])))
    save(figure, out)
