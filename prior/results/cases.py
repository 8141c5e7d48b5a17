"""Rows of the same cases, one row per method."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prior.results.panels import empty_figure, heading, subplots
from prior.results.style import WIDTH, figure_style, save

MAX_CASES = 6
NAMES = 1.1
"""Inches that the names of methods take."""
MAX_PICTURES = 48
"""Of many methods, fewer cases are shown, so that the picture stays small."""


def load_cases(files: Mapping[str, Path], names: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """Read the first cases of the arrays `names` from every method's archive."""
    cases = {}
    for method, path in files.items():
        with np.load(path, allow_pickle=False) as archive:
            cases[method] = [archive[name][:MAX_CASES] for name in names]
    return cases


def draw_cases(
    cases: Mapping[str, Sequence[Any]],
    draw: Callable[[Any, Any, Any], None],
    text: str,
    simulated: bool,
    out: Path,
) -> None:
    """Draw a row of cases per method: the image, and over it what `draw` makes of the other two.

    Args:
        cases: method → images uint8 [n, H, W] and two sequences of n.
        draw: gets the axes and what a case has in these two.
        text: title.
        simulated: puts the warning into the title.
        out: path without suffix.
    """
    most = max(2, MAX_PICTURES // max(1, len(cases)))
    columns = min((min(most, len(found[0])) for found in cases.values()), default=0)
    if columns == 0:
        draw_nothing(text, simulated, out)
        return
    with figure_style():
        # As many inches for a picture as a column leaves beside the methods' names.
        size = (WIDTH, (WIDTH - NAMES) / columns * len(cases) * 1.04 + 0.4)
        figure, grid = subplots(len(cases), columns, size)
        figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
        for line, (method, found) in zip(grid, cases.items(), strict=True):
            for axes, image, first, second in zip(line, *found, strict=False):
                axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                draw(axes, first, second)
                bare(axes)
            line[0].set_ylabel(method, rotation=0, ha="right", va="center")
        heading(figure, text, simulated)
        save(figure, out)


def draw_nothing(text: str, simulated: bool, out: Path) -> None:
    """Draw a figure that says that there is nothing to show."""
    with figure_style():
        save(empty_figure(text, simulated), out)


def bare(axes: Any) -> None:
    """Take ticks, grid and frame away."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
