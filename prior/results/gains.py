"""Figures of paired differences: gains over the untrained encoder, as dots and as one map of everything."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prior.metrics.rows import DIAGNOSTIC_TASKS, PRIMARY, TASK_TITLES, WITHOUT_ENCODER, fraction_text
from prior.results.compared import labelled
from prior.results.marks import LEVEL
from prior.results.panels import Styles, dot_panel, empty_figure, grid_of, heading, styles_of, subplots
from prior.results.style import INK, save
from prior.results.view import metric_title

CELL_INK = "#1d1d1f"
"""Stays dark on the light cells when the page turns the other ink light."""
MAP_COLOURS = "RdBu"


def gains_over(differences: pd.DataFrame, references: Sequence[str]) -> pd.DataFrame:
    """Differences of the leading metrics over each of `references` that has a row.

    Returns:
        Rows with `label` (method), `value`, and `panel` and `at` (task and data set; share), in their order.
    """
    leading = differences["metric"] == differences["task"].map(PRIMARY)
    over = differences["reference"].isin(references) & ~differences["task"].isin(DIAGNOSTIC_TASKS)
    chosen = labelled(differences[leading & over & ~differences["method"].isin(WITHOUT_ENCODER)])
    tuned = np.where(chosen["frozen"], "", " tuned")
    # Lists, since a table without rows has no text columns to add to.
    share = ["" if pd.isna(fraction) else fraction_text(fraction) for fraction in chosen["fraction"]]
    at = [text + tuning for text, tuning in zip(share, tuned, strict=True)]
    place = [chosen["task"], chosen["dataset"]]
    repeated = chosen.duplicated(["label", "task", "dataset", "frozen", "fraction"], keep=False)
    several = repeated.groupby(place).transform("any") if len(chosen) else repeated
    columns = zip(*place, chosen["protocol"], chosen["head"], several, strict=True)
    panel = [
        f"{TASK_TITLES[task]} · {dataset}" + (f" · {protocol}, {head}" if many else "")
        for task, dataset, protocol, head, many in columns
    ]
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
        axes.set_title(panel, fontsize=8.5)
        axes.set_xlabel(f"{metric_title(rows['metric'].iloc[0])},\nover {reference}", fontsize=7.5)
    heading(figure, text, simulated, caption)
    save(figure, out)


def gain_map(gains: pd.DataFrame, styles: Styles, simulated: bool, caption: str, out: Path) -> None:
    """Methods × tasks and shares of the labels; a bold number's interval excludes zero.

    Colours are scaled inside each task, since metrics of different tasks have no common size.
    """
    text = "Gain of the leading metric over the untrained encoder"
    if gains.empty:
        save(empty_figure(text, simulated), out)
        return
    styles = styles_of(gains, styles)
    keys = list(dict.fromkeys(zip(gains["panel"], gains["at"], gains["reference"], strict=True)))
    labels = list(styles)
    figure, ((axes,),) = subplots(1, 1, (0.5 * len(keys) + 2.2, 0.22 * len(labels) + 2.2))
    values = np.full((len(labels), len(keys)), np.nan)
    largest = gains["value"].abs().groupby(gains["task"]).transform("max").replace(0.0, 1.0)
    sure = (gains["ci_low"] > 0) | (gains["ci_high"] < 0)
    columns = [gains[name] for name in ("label", "panel", "at", "reference", "value")]
    for label, panel, at, reference, value, size, bold in zip(*columns, largest, sure, strict=True):
        line, column = labels.index(label), keys.index((panel, at, reference))
        values[line, column] = value / size
        if not np.isnan(value):
            axes.text(
                column, line, f"{value:+.3f}".replace("0.", "."), ha="center", va="center", fontsize=6.5,
                color=CELL_INK, weight="bold" if bold else "normal",
            )  # fmt: skip
    # Half the range keeps every cell light enough for dark numbers.
    edges = np.arange(len(keys) + 1) - 0.5, np.arange(len(labels) + 1) - 0.5
    axes.pcolormesh(
        *edges, np.ma.masked_invalid(values), cmap=MAP_COLOURS, vmin=-2, vmax=2, edgecolors="white"
    )
    over = ["" if reference == "random" else " (over chance)" for _, _, reference in keys]
    names = [
        " ".join(filter(None, [panel, at])) + end for (panel, at, _), end in zip(keys, over, strict=True)
    ]
    axes.set_xticks(range(len(keys)), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=7.5)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False)
    key = "Bold: the 95 % interval of the paired difference excludes zero; colours are scaled by task."
    heading(figure, text, simulated, "\n".join(filter(None, [key, caption])))
    save(figure, out)
