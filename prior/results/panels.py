"""The panels that figures are made of: a row per method, dots with intervals."""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prior.metrics.rows import fraction_text
from prior.results.style import GRID, MARKERS, NEUTRAL, SHARES, WIDTH
from prior.results.view import title

Styles = dict[str, tuple[str, str]]
"""Method → colour and marker."""
ROW = 0.135
"""Height of a method's row in inches."""
PANEL_LETTERS = 24
"""As many fit above and below a panel that is half a column wide."""


def styles_of(rows: pd.DataFrame, styles: Styles) -> Styles:
    """Styles of the methods in `rows` alone."""
    present = set(rows["label"])
    return {label: style for label, style in styles.items() if label in present}


def subplots(rows: int, columns: int, size: tuple[float, float], **more: Any) -> tuple[Figure, Any]:
    """A grid of axes [rows, columns] that leaves room for titles and a legend; `size` in inches."""
    figure, grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **more)
    return figure, grid


def errors(rows: pd.DataFrame) -> np.ndarray:
    """Lengths of the interval below and above each value [2, n]."""
    value, low, high = (rows[name].to_numpy(float) for name in ("value", "ci_low", "ci_high"))
    return np.stack([value - low, high - value])


def grid_of(count: int, methods: int, extra: float = 0.55) -> tuple[Figure, list[Axes], int]:
    """Panels with a row per method, two in a line. Returns the figure, `count` axes, the columns."""
    columns = min(2, count)
    lines = -(-count // columns)
    size = (WIDTH, lines * (0.72 + ROW * max(methods, 4)) + extra)
    figure, grid = subplots(lines, columns, size)
    for axes in list(grid.flat)[count:]:
        axes.set_visible(False)
    return figure, list(grid.flat)[:count], columns


def name_rows(axes: Axes, labels: Sequence[str], names: bool) -> None:
    """One row per label, the first on top; the names only where `names`."""
    axes.set_yticks(range(len(labels)), labels if names else [""] * len(labels))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.08)


def _say(axes: Axes, place: int, text: str) -> None:
    axes.annotate(
        text, (0.98, place), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=6,
        color=NEUTRAL,
    )  # fmt: skip


def _marks(axes: Axes, rows: pd.DataFrame) -> None:
    """Dashed vertical lines for what is no encoder, their names above the first row."""
    groups = [(str(name), group["value"].iloc[0]) for name, group in rows.groupby("label")]
    found = [(name, value) for name, value in groups if pd.notna(value)]
    for _, value in found:
        axes.axvline(value, color=NEUTRAL, linestyle=(0, (4, 3)), linewidth=0.8, zorder=1)
    middle = sum(axes.get_xlim()) / 2
    for number, (name, value) in enumerate(found):
        side, shift = ("left", 2) if value <= middle else ("right", -2)
        axes.annotate(
            name, (value, 1), xycoords=("data", "axes fraction"), xytext=(shift, -6.5 - 7.5 * number),
            textcoords="offset points", fontsize=6, color=NEUTRAL, ha=side,
        )  # fmt: skip
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top - 0.8 * len(found))


def dot_panel(
    axes: Axes,
    rows: pd.DataFrame,
    styles: Styles,
    names: bool,
    absent: Mapping[str, str] | None = None,
    hollow: Collection[str] = (),
) -> None:
    """One dot with interval per method.

    Args:
        axes: where to draw.
        rows: `label`, `value`, `ci_low`, `ci_high`; those whose label has no style are dashed lines.
        styles: the rows from top to bottom.
        names: whether this panel names them.
        absent: why a method has no value; others say `not applicable`.
        hollow: methods whose mark is drawn hollow.
    """
    for place, (label, (colour, marker)) in enumerate(styles.items()):
        group = rows[rows["label"] == label]
        if len(group) and group["value"].notna().all():
            fill, edge = ("white", colour) if label in hollow else (colour, "white")
            axes.errorbar(
                group["value"], [place], xerr=errors(group), color=colour, marker=marker, elinewidth=1.1,
                markersize=3.8, markerfacecolor=fill, markeredgecolor=edge, markeredgewidth=0.6, linestyle="",
            )  # fmt: skip
        else:
            _say(axes, place, (absent or {}).get(label, "not applicable"))
    name_rows(axes, list(styles), names)
    _marks(axes, rows[~rows["label"].isin(list(styles))])


def share_panel(axes: Axes, rows: pd.DataFrame, labels: Sequence[str], names: bool) -> None:
    """A dot with interval per method and share of the labels; a larger share is darker and stands lower."""
    fractions = sorted(rows["fraction"].unique())
    for number, fraction in enumerate(fractions):
        group = rows[
            (rows["fraction"] == fraction) & rows["label"].isin(list(labels)) & rows["value"].notna()
        ]
        shift = 0.24 * (number - (len(fractions) - 1) / 2)
        colour, marker = share_style(number, len(fractions))
        axes.errorbar(
            group["value"], [labels.index(label) + shift for label in group["label"]], xerr=errors(group),
            color=colour, marker=marker, linestyle="", elinewidth=0.8, markersize=2.8,
            markeredgecolor="white", markeredgewidth=0.3,
        )  # fmt: skip
    for place, label in enumerate(labels):
        if rows.loc[rows["label"] == label, "value"].notna().sum() == 0:
            _say(axes, place, "not applicable")
        if place:
            axes.axhline(place - 0.5, color=GRID, linewidth=0.4, zorder=0)
    name_rows(axes, labels, names)
    _marks(axes, rows[rows["baseline"]].drop_duplicates("label"))


def share_style(number: int, count: int) -> tuple[str, str]:
    """Colour and marker of the `number`-th of `count` shares; the largest is the darkest."""
    return SHARES[max(0, len(SHARES) - count + number)], MARKERS[number % len(MARKERS)]


def share_heading(
    figure: Figure, text: str, fractions: Sequence[float], simulated: bool, caption: str
) -> None:
    """`heading`, and below the title what the shades stand for."""
    heading(figure, f"{text}\n \n ", simulated, caption)
    styles = [share_style(number, len(fractions)) for number in range(len(fractions))]
    handles = [
        Line2D([], [], color=colour, marker=marker, label=fraction_text(fraction), markeredgecolor="white")
        for fraction, (colour, marker) in zip(fractions, styles, strict=True)
    ]
    lines = len(wrapped(title(text, simulated), _title_letters(figure)).split("\n"))
    place = 1 - (0.14 * lines) / figure.get_figheight()
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, place), ncols=len(handles), borderaxespad=0.2,
        title="Share of the training labels:", alignment="left",
    )  # fmt: skip


def empty_figure(text: str, simulated: bool) -> Figure:
    """A figure that says that there is nothing to show, so that every announced file exists."""
    figure, grid = subplots(1, 1, (WIDTH, 1.0))
    grid[0, 0].set_axis_off()
    grid[0, 0].text(0, 0.5, "Nothing to show.", color=NEUTRAL)
    heading(figure, text, simulated)
    return figure


def heading(figure: Figure, text: str, simulated: bool, caption: str = "") -> None:
    """Title of a figure, with the warning in front when the data are simulated; `caption` stands below."""
    words = wrapped(title(text, simulated), _title_letters(figure))
    figure.suptitle(words, x=0.01, ha="left", fontsize=7, weight="bold")
    if caption:
        below = caption_text(caption, figure.get_figwidth())
        figure.supxlabel(below, x=0.01, ha="left", fontsize=6, style="italic")


def caption_text(caption: str, width: float) -> str:
    """A caption in lines that a figure of `width` inches has room for."""
    return wrapped(caption, round(22 * width))


def _title_letters(figure: Figure) -> int:
    return round(16 * figure.get_figwidth())


def wrapped(text: str, width: int) -> str:
    """Text in lines of at most `width` letters; lines that it has stay apart."""
    return "\n".join(textwrap.fill(line, width) for line in text.split("\n"))


def panel_title(axes: Axes, text: str) -> None:
    """Title of a panel that is half a column wide."""
    axes.set_title(wrapped(text, PANEL_LETTERS))


def axis_title(axes: Axes, text: str) -> None:
    """What the horizontal axis of such a panel shows."""
    axes.set_xlabel(wrapped(text, PANEL_LETTERS - 2), fontsize=6.2)
