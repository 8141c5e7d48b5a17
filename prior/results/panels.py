"""The panels that figures are made of: curves over label shares, and dots with intervals."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prior.metrics.rows import UNTRAINED_TASKS
from prior.results.style import NEUTRAL
from prior.results.view import title

Styles = dict[str, tuple[str, str]]
"""Method → colour and marker."""


def subplots(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    """A grid of axes [rows, columns] that leaves room for titles and a legend; `size` in inches."""
    figure, grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    return figure, grid


def errors(rows: pd.DataFrame) -> np.ndarray:
    """Lengths of the interval below and above each value [2, n]."""
    value, low, high = (rows[name].to_numpy(float) for name in ("value", "ci_low", "ci_high"))
    return np.stack([value - low, high - value])


def _baseline_line(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw baselines of a panel as dashed lines with their name."""
    for label, group in rows.groupby("label"):
        value = group["value"].iloc[0]
        axes.axhline(value, color=NEUTRAL, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
        axes.annotate(
            str(label), (1, value), xycoords=("axes fraction", "data"), xytext=(-2, 2),
            textcoords="offset points", ha="right", color=NEUTRAL, fontsize=7,
        )  # fmt: skip


def curve_panel(axes: Axes, rows: pd.DataFrame, styles: Styles) -> None:
    """Value against share of labels; methods are shifted sideways so that intervals do not overlap."""
    _baseline_line(axes, rows[rows["baseline"]])
    fractions = sorted(rows["fraction"].unique())
    present = [label for label in styles if label in set(rows["label"])]
    for place, label in enumerate(present):
        group = rows[rows["label"] == label].sort_values("fraction")
        shift = 0.06 * (place - (len(present) - 1) / 2)
        x = [fractions.index(fraction) + shift for fraction in group["fraction"]]
        colour, marker = styles[label]
        axes.errorbar(
            x, group["value"], yerr=errors(group), color=colour, marker=marker, label=label,
            capsize=0, elinewidth=1.1, markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
    axes.set_xticks(range(len(fractions)), [f"{100 * fraction:g} %" for fraction in fractions])
    axes.set_xlim(-0.35, len(fractions) - 0.65)
    axes.grid(axis="x", visible=False)


def dot_panel(axes: Axes, rows: pd.DataFrame, styles: Styles, names: bool) -> None:
    """One dot with interval per method, baselines as dashed vertical lines."""
    for place, (label, (colour, marker)) in enumerate(styles.items()):
        group = rows[rows["label"] == label]
        if len(group) and group["value"].notna().all():
            axes.errorbar(
                group["value"], [place], xerr=errors(group), color=colour, marker=marker, elinewidth=1.6,
                markersize=6, markeredgecolor="white", markeredgewidth=0.6, linestyle="",
            )  # fmt: skip
        else:
            reason = "no text encoder" if rows["task"].isin(UNTRAINED_TASKS).all() else "omitted"
            axes.annotate(
                reason, (0.98, place), xycoords=("axes fraction", "data"), ha="right", va="center",
                fontsize=7, color=NEUTRAL,
            )  # fmt: skip
    for name, group in rows[rows["baseline"]].groupby("label"):
        value = group["value"].iloc[0]
        if pd.notna(value):
            axes.axvline(value, color=NEUTRAL, linestyle=(0, (4, 3)), linewidth=1)
            axes.annotate(
                str(name), (value, 0), xycoords=("data", "axes fraction"), xytext=(2, 3),
                textcoords="offset points", fontsize=6.5, color=NEUTRAL,
            )  # fmt: skip
    axes.set_yticks(range(len(styles)), list(styles) if names else [""] * len(styles))
    axes.set_ylim(len(styles) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)


def legend(figure: Figure, styles: Styles) -> None:
    """One legend of the methods below the panels."""
    handles = [
        mpl.lines.Line2D([], [], color=colour, marker=marker, label=label, markeredgecolor="white")
        for label, (colour, marker) in styles.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)), fontsize=8)


def empty_figure(text: str, simulated: bool) -> Figure:
    """A figure that says that there is nothing to show, so that every announced file exists."""
    figure, grid = subplots(1, 1, (4.2, 1.2))
    grid[0, 0].set_axis_off()
    grid[0, 0].text(0, 0.5, "Nothing to show: no cell was evaluated.", color=NEUTRAL)
    heading(figure, text, simulated)
    return figure


def heading(figure: Figure, text: str, simulated: bool) -> None:
    """Title of a figure, with the warning in front when the data are simulated."""
    figure.suptitle(title(text, simulated), x=0.01, ha="left", fontsize=9.5, weight="bold")
