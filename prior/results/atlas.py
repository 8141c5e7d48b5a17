"""Picture of a prototype bank: how often each prototype is used, and the sentences that it stands for."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from prior.data.files import read_json
from prior.results.panels import heading, subplots
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


def prototype_atlas(file: Path, prepared: Path, out: Path) -> None:
    """Draw the use of all prototypes, and the most frequent ones with their nearest sentences.

    Args:
        file: `.npz` with `prototype`, `frequency`, `entropy` [K], most frequent first, and `study_id`,
            `position` [K, n] of the nearest sentences.
        prepared: folder of the prepared data set, which says whether the reports are simulated.
        out: path without suffix.
    """
    with np.load(file, allow_pickle=False) as archive:
        atlas = {name: archive[name] for name in archive.files}
    shown = min(SHOWN, int((atlas["frequency"] > 0).sum()))
    texts = nearest_sentences(prepared, atlas["study_id"][:shown], atlas["position"][:shown])
    simulated = any(texts)
    with figure_style():
        figure = _draw(atlas, texts, shown)
        heading(figure, "Prototypes: use, and the nearest sentences of the most frequent ones", simulated)
        save(figure, out)


def _draw(atlas: dict[str, np.ndarray], texts: list[list[str]], shown: int) -> Figure:
    figure, grid = subplots(2, 1, (8.2, 2.2 + 0.52 * shown))
    use, table = grid[:, 0]
    use.get_gridspec().set_height_ratios([1.6, max(0.52 * shown, 0.4)])
    _use_panel(use, atlas["frequency"])
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
    return figure


def _use_panel(axes: Any, frequency: np.ndarray) -> None:
    dead = int((frequency == 0).sum())
    axes.fill_between(np.arange(1, len(frequency) + 1), 100 * frequency, step="mid", color=PALETTE[0])
    axes.set_xlim(0.5, len(frequency) + 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("prototypes, most frequent first")
    axes.set_ylabel("% of the sentences")
    axes.set_title(f"{dead} of {len(frequency)} prototypes are nearest to no sentence", fontsize=8)
