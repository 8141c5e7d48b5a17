"""Picture of a prototype bank: how often each prototype is used, and the sentences that it stands for."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.files import read_json
from prior.results.panels import empty_figure, heading, subplots
from prior.results.style import INK, NEUTRAL, PALETTE, figure_style, save

SHOWN = 12
WIDTH = 80
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
        heights = [height for lines in shown for height in (1.6, max(0.52 * lines, 0.4))]
        size = (8.2, 0.6 * len(atlases) + sum(heights))
        figure, grid = subplots(2 * len(atlases), 1, size, gridspec_kw={"height_ratios": heights})
        for number, ((method, atlas), lines) in enumerate(zip(atlases.items(), shown, strict=True)):
            use, table = grid[2 * number : 2 * number + 2, 0]
            _use_panel(use, atlas["frequency"], method)
            texts = nearest_sentences(prepared, atlas["study_id"][:lines], atlas["position"][:lines])
            _table_panel(table, atlas, texts)
        heading(figure, text, simulated)
        save(figure, out)


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _table_panel(table: Any, atlas: dict[str, np.ndarray], texts: list[list[str]]) -> None:
    shown = len(texts)
    table.set_axis_off()
    table.set_xlim(0, 1)
    table.set_ylim(shown or 1, 0)
    header = {"fontsize": 7, "va": "bottom", "color": NEUTRAL}
    table.text(0, 0, "prototype: share of sentences, mean entropy", **header)
    table.text(0.4, 0, "sentences assigned to it most strongly", **header)
    for line in range(shown):
        share, entropy = 100 * atlas["frequency"][line], atlas["entropy"][line]
        label = f"{atlas['prototype'][line]}: {share:.1f} %, {entropy:.2f} nats"
        table.text(0, line + 0.5, label, fontsize=7, va="center")
        sentences = [textwrap.shorten(text, WIDTH, placeholder=" …") for text in texts[line]]
        words, colour = ("\n".join(sentences), INK) if sentences else (HIDDEN, NEUTRAL)
        table.text(0.4, line + 0.5, words, fontsize=7, va="center", color=colour)


def _use_panel(axes: Any, frequency: np.ndarray, method: str) -> None:
    dead = int((frequency == 0).sum())
    axes.fill_between(np.arange(1, len(frequency) + 1), 100 * frequency, step="mid", color=PALETTE[0])
    axes.set_xlim(0.5, len(frequency) + 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("prototypes, most frequent first")
    axes.set_ylabel("% of the sentences")
    axes.set_title(f"{method}: {dead} of {len(frequency)} prototypes are nearest to no sentence", fontsize=8)
