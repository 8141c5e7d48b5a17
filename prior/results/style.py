"""One look for all figures: colours that colour-blind people tell apart, equal files for equal inputs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from prior.data.files import atomic_path

WIDTH = 3.4
"""Inches: a column of a journal. What is drawn at this width is printed as it is, in 6 points or more."""
INK = "#2b2b2b"
"""Text and axes; the page replaces this colour by the reader's own."""
GRID = "#d9d9d9"
NEUTRAL = "#8a8a8a"
PALETTE = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#56b4e9", "#949494"]
SHARES = ["#8fc1e3", "#3f8fc4", "#0b3c5d"]
MARKERS = ["o", "s", "D", "^", "v", "P", "X", "h"]
DPI = 300
TICKS = {"major.size": 2, "major.width": 0.6, "major.pad": 2}
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "prior",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 6.5,
    "axes.titlesize": 6.5,
    "axes.labelsize": 6.5,
    "axes.labelpad": 2,
    "axes.titlepad": 3,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 6.2,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.2,
    "legend.title_fontsize": 6.2,
    **{f"{axis}tick.{name}": value for axis in "xy" for name, value in TICKS.items()},
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "figure.dpi": 100,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Apply the look without a display and without touching the caller's settings."""
    mpl.use("agg")
    with mpl.rc_context(SETTINGS):
        yield


def method_style(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each method; `random` is grey, so that it reads as the ground to stand on."""
    styles: dict[str, tuple[str, str]] = {}
    for method in methods:
        place = len([name for name in styles if name != "random"])
        coloured = (PALETTE[place % (len(PALETTE) - 1)], MARKERS[place % len(MARKERS)])
        styles[method] = (NEUTRAL, "o") if method == "random" else coloured
    return styles


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `<stem>.svg` and `<stem>.png`; equal figures give equal bytes. Returns both paths."""
    from matplotlib import pyplot

    paths = [stem.with_name(stem.name + suffix) for suffix in (".svg", ".png")]
    with atomic_path(paths[0]) as temporary:
        figure.savefig(temporary, transparent=True, dpi=DPI, metadata={"Date": None, "Creator": None})
    figure.set_layout_engine("none")  # The layout is found once; finding it takes longer than drawing.
    with atomic_path(paths[1]) as temporary:
        figure.savefig(temporary, facecolor="white", dpi=DPI, metadata={"Software": None})
    pyplot.close(figure)
    return paths
