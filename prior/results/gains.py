"""Figures of paired differences: gains over the untrained encoder, as dots and as one map of everything."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from prior.metrics.rows import (
    DIAGNOSTIC_TASKS,
    PRIMARY,
    TASK_TITLES,
    WITHOUT_ENCODER,
    fraction_text,
    protocol_text,
)
from prior.results.compared import labelled
from prior.results.marks import LEVEL
from prior.results.panels import (
    Styles,
    axis_title,
    dot_panel,
    empty_figure,
    grid_of,
    heading,
    panel_title,
    styles_of,
    subplots,
)
from prior.results.style import INK, WIDTH, save
from prior.results.view import metric_title

CELL_INK = "#1d1d1f"
"""Stays dark on the light cells when the page turns the other ink light."""
MAP_COLOURS = "RdBu"
SHORT_TITLES = {
    TASK_TITLES["zero_shot"]: "Zero-shot",
    TASK_TITLES["retrieval"]: "Retrieval",
    TASK_TITLES["grounding"]: "Grounding",
}
MAP_METHODS = 8
"""Numbers that a line of the map has room for."""


def gains_over(differences: pd.DataFrame, references: Sequence[str]) -> pd.DataFrame:
    """Differences of the leading metrics over each of `references` that has a row.

    Returns:
        Rows with `label` (method), `value`, and `panel` and `at` (task and data set; share of the
        labels, tuning and protocol where that is not one alone), in their order.
    """
    leading = differences["metric"] == differences["task"].map(PRIMARY)
    over = differences["reference"].isin(references) & ~differences["task"].isin(DIAGNOSTIC_TASKS)
    chosen = labelled(differences[leading & over & ~differences["method"].isin(WITHOUT_ENCODER)])
    tuned = np.where(chosen["frozen"], "", " tuned")
    # Where a data set was measured under several protocols, each is a column of its own.
    records = [{str(key): value for key, value in row.items()} for row in chosen.to_dict("records")]
    named = pd.Series([protocol_text(row) for row in records], chosen.index, dtype=object)
    several = named.groupby([chosen["task"], chosen["dataset"]]).transform("nunique") > 1
    protocols = [f" {name}" if many else "" for name, many in zip(named, several, strict=True)]
    # Lists, since a table without rows has no text columns to add to.
    share = ["" if pd.isna(fraction) else fraction_text(fraction) for fraction in chosen["fraction"]]
    at = ["".join(parts).strip() for parts in zip(share, tuned, protocols, strict=True)]
    places = zip(chosen["task"], chosen["dataset"], strict=True)
    panel = [f"{TASK_TITLES[task]} · {dataset}" for task, dataset in places]
    return chosen.rename(columns={"difference": "value"}).assign(panel=panel, at=at)


def gain_figure(
    gains: pd.DataFrame, text: str, styles: Styles, simulated: bool, caption: str, out: Path
) -> None:
    """Paired gain of each primary metric with interval: a panel per task and data set, a row per method.

    Where Holm's rule was applied (`p_holm`), a hollow mark is a difference that is not significant.
    """
    chosen = gains[gains["role"] == "primary"]
    if chosen.empty:
        save(empty_figure(text, simulated), out)
        return
    styles = styles_of(chosen, styles)
    panels = list(dict.fromkeys(chosen["panel"]))
    figure, grid, columns = grid_of(len(panels), len(styles))
    for place, (axes, panel) in enumerate(zip(grid, panels, strict=True)):
        rows = chosen[chosen["panel"] == panel]
        reference = rows["reference"].iloc[0]
        absent = {reference: "reference"}
        absent |= {} if reference == "random" else dict.fromkeys(styles, "no text encoder")
        hollow = set(rows.loc[rows["p_holm"] >= LEVEL, "label"])
        dot_panel(axes, rows, styles, names=place % columns == 0, absent=absent, hollow=hollow)
        axes.axvline(0, color=INK, linewidth=0.9)
        panel_title(axes, panel.replace(" · ", "\n"))
        axis_title(axes, f"{metric_title(rows['metric'].iloc[0])}, over {reference}")
    heading(figure, text, simulated, caption)
    save(figure, out)


def gain_map(gains: pd.DataFrame, styles: Styles, simulated: bool, caption: str, out: Path) -> None:
    """Tasks and shares of the labels × methods; a bold number's interval excludes zero.

    Colours are scaled inside each task, since metrics of different tasks have no common size. More methods
    than a column has room for stand in several maps below each other.
    """
    text = "Gain of the leading metric over the untrained encoder"
    if gains.empty:
        save(empty_figure(text, simulated), out)
        return
    largest = gains["value"].abs().groupby(gains["task"]).transform("max").replace(0.0, 1.0)
    gains = gains.assign(size=gains["value"] / largest, sure=(gains["ci_low"] > 0) | (gains["ci_high"] < 0))
    keys = list(dict.fromkeys(zip(gains["panel"], gains["at"], gains["reference"], strict=True)))
    labels = list(styles_of(gains, styles))
    maps = [labels[start : start + MAP_METHODS] for start in range(0, len(labels), MAP_METHODS)]
    figure, grid = subplots(len(maps), 1, (WIDTH, len(maps) * (0.15 * len(keys) + 0.65) + 0.7))
    for axes, methods in zip(grid.flat, maps, strict=True):
        _map_panel(axes, gains[gains["label"].isin(methods)], keys, methods)
    key = "Bold: the 95 % interval of the paired difference excludes zero; colours are scaled by task. "
    key += "Tasks that use no labels: over chance."
    heading(figure, text, simulated, "\n".join(filter(None, [key, caption])))
    save(figure, out)


def _short(panel: str) -> str:
    task, _, dataset = panel.partition(" · ")
    return f"{SHORT_TITLES.get(task, task)} · {dataset}"


def _map_panel(
    axes: Axes, gains: pd.DataFrame, keys: Sequence[tuple[str, str, str]], methods: Sequence[str]
) -> None:
    values = np.full((len(keys), MAP_METHODS), np.nan)
    for row in gains.to_dict("records"):
        place = keys.index((row["panel"], row["at"], row["reference"])), methods.index(row["label"])
        values[place] = row["size"]
        if not pd.isna(row["value"]):
            number = f"{row['value']:.2f}".replace("0.", ".").replace("-", "−")
            axes.text(
                place[1], place[0], number, ha="center", va="center", fontsize=6, color=CELL_INK,
                weight="bold" if row["sure"] else "normal",
            )  # fmt: skip
    # Half the range keeps every cell light enough for dark numbers.
    edges = np.arange(MAP_METHODS + 1) - 0.5, np.arange(len(keys) + 1) - 0.5
    shown = np.ma.masked_invalid(values)
    axes.pcolormesh(*edges, shown, cmap=MAP_COLOURS, vmin=-2, vmax=2, edgecolors="white")
    names = [" ".join(filter(None, [_short(panel), at])) for panel, at, _ in keys]
    axes.set_yticks(range(len(keys)), names, fontsize=6)
    axes.set_xticks(range(len(methods)), methods, rotation=40, ha="right", rotation_mode="anchor", fontsize=6)
    axes.set_ylim(len(keys) - 0.5, -0.5)
    axes.grid(visible=False)
