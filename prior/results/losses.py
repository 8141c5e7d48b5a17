"""Pre-training losses: a figure per method and variant, a panel per term, a line per pre-training seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prior.results.panels import empty_figure, heading, subplots
from prior.results.style import NEUTRAL, PALETTE, WIDTH, save

NO_LOSS = {"stage", "epoch", "step", "learning_rate"}
COLUMNS = 3
POINTS = 120


def smoothed(frame: pd.DataFrame, loss: str) -> pd.Series:
    """Means of equally long runs of logged steps, none of which reaches into another stage."""
    stage = (frame["stage"] != frame["stage"].shift()).cumsum()
    position = pd.Series(np.arange(len(frame)), index=frame.index)
    groups = [stage, position // max(1, len(frame) // POINTS)]
    means = frame[loss].groupby(groups).mean()
    return means.set_axis(position.groupby(groups).mean())


def _stages(frame: pd.DataFrame) -> dict[int, str]:
    """First logged step of every stage → its name."""
    stage = frame["stage"].to_numpy()
    starts = [0, *(np.flatnonzero(stage[1:] != stage[:-1]) + 1)]
    return {int(start): str(stage[start]) for start in starts}


def loss_figure(logs: Sequence[pd.DataFrame], name: str, simulated: bool, out: Path) -> None:
    """Draw every loss term over the logged steps, each on its own scale.

    Args:
        logs: training logs of one method and variant, one per pre-training seed.
        name: method and variant.
        simulated: puts the warning into the title.
        out: path without suffix.
    """
    logs = [frame for frame in logs if len(frame)]
    losses = [column for column in (logs[0].columns if logs else []) if column not in NO_LOSS]
    if not losses:
        save(empty_figure(f"Pre-training losses: {name}", simulated), out)
        return
    stages = _stages(logs[0])
    caption = f"Dotted lines part the stages: {', '.join(stages.values())}." if len(stages) > 1 else ""
    columns = min(COLUMNS, len(losses))
    lines = -(-len(losses) // columns)
    figure, grid = subplots(lines, columns, (WIDTH, 1.05 * lines + 0.45))
    for number, axes in enumerate(grid.flat):
        if number >= len(losses):
            axes.set_visible(False)
            continue
        for seed, frame in enumerate(logs):
            line = smoothed(frame, losses[number])
            axes.plot(line.index, line, color=PALETTE[seed % len(PALETTE)], linewidth=0.8)
        for start in list(stages)[1:]:
            axes.axvline(start, color=NEUTRAL, linewidth=0.8, linestyle=":")
        axes.set_xlim(0, max(map(len, logs)))
        axes.set_title(losses[number], fontsize=6.2)
        axes.tick_params(labelsize=6)
        axes.locator_params(nbins=4)
        if number >= len(losses) - columns:
            axes.set_xlabel("logged steps", fontsize=6)
    heading(figure, f"Pre-training losses: {name}", simulated, caption)
    save(figure, out)


def loss_figures(training: Sequence[Path], simulated: bool, out: Path) -> None:
    """Draw `pretraining_<method>-<variant>` of every method and variant.

    Args:
        training: `models/<method>-<variant>-s<seed>/training.csv`.
        simulated: puts the warning into titles.
        out: folder.
    """
    groups: dict[str, list[pd.DataFrame]] = {}
    for path in sorted(training):
        groups.setdefault(path.parent.name.rpartition("-s")[0], []).append(pd.read_csv(path))
    for name, logs in groups.items():
        loss_figure(logs, name, simulated, out / f"pretraining_{name}")
