"""Picture of a prototype bank: how often each prototype is used, and the sentences that it stands for."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.files import read_json
from prior.results.panels import empty_figure, heading, subplots
from prior.results.style import INK, NEUTRAL, PALETTE, WIDTH, figure_style, save

SHOWN = 12
LETTERS = 68
"""Of a sentence, as many as a column has room for."""
LINE = 0.105
"""Inches of a line of text."""
USE = 1.0
"""Inches that the panel of use takes."""
KEY = "Bold: prototype, share of the sentences, mean entropy; below: sentences assigned to it most strongly."
HIDDEN = "The texts of real reports are not shown."


def nearest_sentences(prepared: Path, study_id: np.ndarray, position: np.ndarray) -> list[list[str]]:
    """Look up the text of sentences by study and position, [n, m]; only of simulated data.

    Args:
        prepared: folder of the prepared data set (`manifest.json`, `sentences.parquet`).
        study_id: [n, m], empty where there is no sentence.
        position: [n, m].

    Returns:
        n lists of at most m texts; all empty if the reports are real.
    """
    manifest = prepared / "manifest.json"
    if not manifest.is_file() or read_json(manifest).get("simulated") is not True:
        return [[] for _ in study_id]
    table = pd.read_parquet(prepared / "sentences.parquet", columns=["study_id", "position", "sentence"])
    texts = table.astype({"study_id": str}).set_index(["study_id", "position"])["sentence"].to_dict()
    return [
        [texts[str(study), int(place)] for study, place in zip(*row, strict=True) if study]
        for row in zip(study_id, position, strict=True)
    ]


def prototype_atlas(files: Mapping[str, Path], prepared: Path, simulated: bool, out: Path) -> None:
    """Draw for every method the use of its prototypes, and the nearest sentences of the most frequent ones.

    Args:
        files: method → `.npz` with `prototype`, `frequency`, `entropy` [K], most frequent first, and
            `study_id`, `position` [K, n] of the nearest sentences.
        prepared: folder of the prepared data set, which says whether its reports are simulated.
        simulated: puts the warning into the title.
        out: path without suffix.
    """
    text = "Prototypes: use, and the nearest sentences of the most frequent ones"
    atlases = {method: _read(path) for method, path in files.items()}
    with figure_style():
        if not atlases:
            save(empty_figure(text, simulated), out)
            return
        most = max(4, SHOWN // len(atlases))
        shown = [min(most, int((atlas["frequency"] > 0).sum())) for atlas in atlases.values()]
        lists = [
            nearest_sentences(prepared, atlas["study_id"][:lines], atlas["position"][:lines])
            for atlas, lines in zip(atlases.values(), shown, strict=True)
        ]
        rows = [max(1, sum(1.6 + max(1, len(texts)) for texts in found)) for found in lists]
        heights = [height for lines in rows for height in (USE, LINE * lines)]
        size = (WIDTH, 0.5 + 0.1 * len(heights) + sum(heights))
        figure, grid = subplots(len(heights), 1, size, gridspec_kw={"height_ratios": heights})
        for number, ((method, atlas), texts) in enumerate(zip(atlases.items(), lists, strict=True)):
            use, table = grid[2 * number : 2 * number + 2, 0]
            _use_panel(use, atlas["frequency"], method)
            _table_panel(table, atlas, texts, rows[number])
        heading(figure, text, simulated, KEY)
        save(figure, out)


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _table_panel(table: Any, atlas: dict[str, np.ndarray], texts: list[list[str]], lines: float) -> None:
    """For every prototype a line with its use and below it the sentences; `lines` have room."""
    table.set_axis_off()
    table.set_xlim(0, 1)
    table.set_ylim(lines, 0)
    line = 0.5

    def write(words: str, left: float, **look: Any) -> None:
        nonlocal line
        table.text(left, line, words, va="center", fontsize=6, **look).set_in_layout(False)
        line += 1

    for number, found in enumerate(texts):
        share, entropy = 100 * atlas["frequency"][number], atlas["entropy"][number]
        write(f"{atlas['prototype'][number]}: {share:.1f} %, {entropy:.2f} nats", 0, weight="bold")
        for text in found:
            write(textwrap.shorten(text, LETTERS, placeholder=" …"), 0.03, color=INK)
        if not found:
            write(HIDDEN, 0.03, color=NEUTRAL)
        line += 0.6


def _use_panel(axes: Any, frequency: np.ndarray, method: str) -> None:
    dead = int((frequency == 0).sum())
    used = frequency[frequency > 0]
    axes.stairs(100 * used, np.arange(len(used) + 1) + 0.5, fill=True, color=PALETTE[0])
    axes.set_xlim(0.5, len(frequency) + 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("prototypes, most frequent first")
    axes.set_ylabel("% of the sentences")
    axes.set_title(f"{method}: {dead} of {len(frequency)} prototypes are nearest to no sentence")
