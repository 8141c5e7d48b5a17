"""Pictures of retrieval: a query image, and which findings the reports have that each method ranks first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.results.cases import bare, draw_nothing
from prior.results.panels import heading, subplots
from prior.results.style import GRID, INK, NEUTRAL, PALETTE, WIDTH, figure_style, save

MAX_QUERIES = 3
NAMES = 1.3
"""Inches that the names of findings take; the image above them is narrower."""
HEAD, LINE = 1.0, 0.115
"""Inches that an image and the names of methods take; inches of a finding's line."""
SAME, OTHER = PALETTE[2], PALETTE[1]
KEY = (
    "A column is a report, the one ranked first on the left. Above the line: findings of the query, green "
    "where the report has them; below: findings that only reports have. Triangle: the query's own report."
)


def study_findings(prepared: Path) -> dict[str, list[str]]:
    """Study → its present findings in words, in the order of the labels; never report text.

    Args:
        prepared: folder of the prepared data set (`images.parquet`, `labels.parquet`).
    """
    labels = pd.read_parquet(prepared / "labels.parquet").set_index("image_id")
    studies = pd.read_parquet(prepared / "images.parquet").set_index("image_id")["study_id"].astype(str)
    grouped = labels.groupby(studies.reindex(labels.index)).max()
    names = [str(name).replace("_", " ") for name in grouped.columns]
    return {
        str(study): [name for name, value in zip(names, row, strict=True) if value == 1]
        for study, row in zip(grouped.index, grouped.to_numpy(), strict=True)
    }


def finding_lines(own: Sequence[str], found: Sequence[Sequence[str]]) -> list[str]:
    """Findings of the query, then those that only the reports found have, the most frequent first."""
    names = [name for findings in found for name in findings if name not in own]
    others = sorted(dict.fromkeys(names), key=lambda name: (-names.count(name), name))
    return [*own, *others]


def retrieval_examples(files: Mapping[str, Path], prepared: Path, simulated: bool, out: Path) -> None:
    """Draw query images, and for every method the findings of the five reports that it ranks first.

    Args:
        files: method → `.npz` with `images` uint8 [n, H, W], `study_id` [n] and `top` [n, 5], study ids by
            rank; queries are the same for all methods.
        prepared: folder of the prepared data set (`images.parquet`, `labels.parquet`).
        simulated: puts the warning into the title.
        out: path without suffix.
    """
    text = "Retrieval: findings of the five reports ranked first"
    if not files:
        draw_nothing(text, simulated, out)
        return
    archives = {method: np.load(path, allow_pickle=False) for method, path in files.items()}
    first = next(iter(archives.values()))
    images, queries = first["images"][:MAX_QUERIES], first["study_id"][:MAX_QUERIES].astype(str)
    tops = {method: archive["top"].astype(str) for method, archive in archives.items()}
    findings = {study: found or ["none"] for study, found in study_findings(prepared).items()}
    lines = [
        finding_lines(findings[own], [findings[study] for top in tops.values() for study in top[number]])
        for number, own in enumerate(queries)
    ]
    heights = [height for names in lines for height in (HEAD, LINE * len(names))]
    with figure_style():
        size = (WIDTH, sum(heights) + 0.08 * len(heights) + 0.8)
        ratios = {"width_ratios": [NAMES, WIDTH - NAMES], "height_ratios": heights}
        figure, grid = subplots(len(heights), 2, size, gridspec_kw=ratios)
        figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.02, wspace=0.01, hspace=0.01)
        for axes in grid.flat:
            bare(axes)
        for number, (image, own, names) in enumerate(zip(images, queries, lines, strict=True)):
            (picture, heads), (left, cells) = grid[2 * number : 2 * number + 2]
            picture.imshow(image, cmap="gray", vmin=0, vmax=255)
            picture.set_anchor("E")
            ranked = {method: list(top[number]) for method, top in tops.items()}
            _heads(heads, ranked)
            _names(left, names, len(findings[own]))
            _cells(cells, ranked, own, names, findings)
        heading(figure, text, simulated, KEY)
        save(figure, out)


def _across(axes: Any, ranked: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Scale the axes to a column per report and one between methods; first column of each method."""
    starts, column = {}, 0
    for method, studies in ranked.items():
        starts[method] = column
        column += len(studies) + 1
    axes.set_xlim(-1, column - 0.5)
    return starts


def _heads(axes: Any, ranked: Mapping[str, Sequence[str]]) -> None:
    for method, start in _across(axes, ranked).items():
        middle = start + (len(ranked[method]) - 1) / 2
        axes.text(middle, 0, method, rotation=90, ha="center", va="bottom").set_in_layout(False)


def _names(axes: Any, names: Sequence[str], own: int) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) - 0.5, -0.5)
    for line, name in enumerate(names):
        weight = "bold" if line < own else "normal"
        words = axes.text(1, line, name, ha="right", va="center", fontsize=6, weight=weight)
        words.set_in_layout(False)


def _cells(
    axes: Any,
    ranked: Mapping[str, Sequence[str]],
    own: str,
    names: Sequence[str],
    findings: Mapping[str, Sequence[str]],
) -> None:
    """A square where a report has a finding."""
    starts = _across(axes, ranked)
    axes.set_ylim(len(names) - 0.5, -0.5)
    columns = sum(len(studies) + 1 for studies in ranked.values())
    side = 72 * min((WIDTH - NAMES) / columns, LINE) * 0.8
    for line in range(len(names)):
        axes.axhline(line, color=GRID, linewidth=0.4, zorder=0)
    axes.axhline(len(findings[own]) - 0.5, color=INK, linewidth=0.7)
    placed = [
        (starts[method] + rank, study) for method, top in ranked.items() for rank, study in enumerate(top)
    ]
    for method, studies in ranked.items():
        axes.axvspan(starts[method] - 0.7, starts[method] + len(studies) - 0.3, color=GRID, alpha=0.35, lw=0)
    squares = [(column, name) for column, study in placed for name in findings[study]]
    for colour, shared in ((SAME, True), (OTHER, False)):
        chosen = [(x, names.index(name)) for x, name in squares if (name in findings[own]) == shared]
        _mark(axes, chosen, marker="s", markersize=side, color=colour)
    reports = [(column, -0.5) for column, study in placed if study == own]
    _mark(axes, reports, marker="v", markersize=4, color=NEUTRAL, clip_on=False)


def _mark(axes: Any, places: Sequence[tuple[float, float]], **look: Any) -> None:
    if places:
        axes.plot(*zip(*places, strict=True), linestyle="", markeredgewidth=0, **look)
