"""ROC curves and calibration of classification, from the stored predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from prior.metrics.arrays import Bools, Floats
from prior.metrics.classification import SUBSET
from prior.metrics.rows import PRIMARY_FRACTION, TASK_TITLES
from prior.results.examples import bundle_label
from prior.results.names import has_curves
from prior.results.panels import PANEL_LETTERS, empty_figure, heading, subplots, wrapped
from prior.results.style import NEUTRAL, WIDTH, figure_style, method_style, save

GRID_POINTS = 101
BINS = 10
LEGEND_COLUMNS = 3
LINES = ["-", "--", "-.", ":"]


def roc(score: Floats, truth: Bools) -> Floats:
    """Share of positives found at evenly spaced shares of false alarms.

    Args:
        score: larger is more likely positive [n].
        truth: [n], with both values.

    Returns:
        [GRID_POINTS]; between two thresholds the line is straight, so that ties count half.
    """
    order = np.argsort(-score, kind="stable")
    score, truth = score[order], truth[order]
    last = np.append(score[1:] != score[:-1], True)
    found = np.concatenate([[0.0], np.cumsum(truth)[last] / truth.sum()])
    alarms = np.concatenate([[0.0], np.cumsum(~truth)[last] / (~truth).sum()])
    return np.interp(np.linspace(0, 1, GRID_POINTS), alarms, found)


def reliability(score: Floats, truth: Bools, bins: int = BINS) -> tuple[Floats, Floats]:
    """Mean probability and share of positives in bins of equally many predictions [bins] each."""
    groups = np.array_split(np.argsort(score, kind="stable"), bins)
    return np.array([score[g].mean() for g in groups]), np.array([truth[g].mean() for g in groups])


def _shown(stem: Path) -> pd.DataFrame:
    """Predictions at 10 % of the labels, or without labels, of findings that have both labels.

    No rows where every cell was refused.
    """
    frame = pd.read_parquet(f"{stem}.parquet")
    if frame.empty:
        return frame
    frame = frame[frame["fraction"].isna() | np.isclose(frame["fraction"].fillna(0.0), PRIMARY_FRACTION)]
    frame = frame[~frame["finding"].str.startswith(SUBSET) & frame["label"].isin([0.0, 1.0])]
    return frame.assign(truth=frame["label"] == 1.0)


def curve_arrays(frame: pd.DataFrame, probabilities: bool) -> dict[str, Floats]:
    """Curves of one method.

    Args:
        frame: `finding`, `score`, `truth`, `seed`, `fold`.
        probabilities: whether scores are probabilities.

    Returns:
        `roc` [GRID_POINTS], the mean over findings and cells; `predicted` and `observed` [BINS], of all
        findings pooled that were fitted (a constant score was not), the mean over cells.
    """
    curves, bins = [], []
    for _, cell in frame.groupby(["seed", "fold"], dropna=False):
        for _, rows in cell.groupby("finding"):
            if rows["truth"].nunique() == 2:
                curves.append(roc(rows["score"].to_numpy(float), rows["truth"].to_numpy(bool)))
        fitted = cell[cell.groupby("finding")["score"].transform("nunique") > 1]
        if probabilities and len(fitted) >= BINS:
            bins.append(reliability(fitted["score"].to_numpy(float), fitted["truth"].to_numpy(bool)))
    found = {"roc": np.mean(curves, axis=0)} if curves else {}
    if bins:
        found["predicted"], found["observed"] = np.mean(bins, axis=0)
    return found


def _panel(axes: Axes, text: str, x: str, y: str) -> None:
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(wrapped(text, PANEL_LETTERS))
    axes.set_aspect("equal")


def roc_figure(stems: Mapping[str, Path], text: str, simulated: bool, calibrated: bool, out: Path) -> None:
    """Draw every method's mean ROC curve and, where scores are probabilities, its calibration.

    Args:
        stems: method → prediction file without suffix.
        text: title.
        simulated: puts the warning into the title.
        calibrated: whether scores are probabilities.
        out: path without suffix.
    """
    found = {method: curve_arrays(_shown(stem), calibrated) for method, stem in stems.items()}
    found = {method: arrays for method, arrays in found.items() if "roc" in arrays}
    with figure_style():
        if not found:
            save(empty_figure(text, simulated), out)
            return
        styles = method_style(list(found))
        columns = 2 if calibrated else 1
        rows = -(-len(found) // LEGEND_COLUMNS)
        figure, grid = subplots(1, columns, (WIDTH, (2.5 if calibrated else 3.4) + 0.15 * rows))
        for number, (method, arrays) in enumerate(found.items()):
            colour, marker = styles[method]
            line: dict[str, Any] = {
                "color": colour,
                "linestyle": LINES[number % len(LINES)],
                "linewidth": 0.9,
            }
            grid[0, 0].plot(np.linspace(0, 1, GRID_POINTS), arrays["roc"], label=method, **line)
            if calibrated and "predicted" in arrays:
                grid[0, 1].plot(arrays["predicted"], arrays["observed"], marker=marker, markersize=2, **line)
        _panel(grid[0, 0], "ROC, mean over findings and seeds", "false alarms, share", "found, share")
        if calibrated:
            _panel(grid[0, 1], "Calibration, findings pooled", "mean probability", "share of positives")
        figure.legend(loc="outside lower center", ncols=LEGEND_COLUMNS)
        key = "Dashed grey: chance" + (" (left), perfect calibration (right)." if calibrated else ".")
        # Lines at the end leave room for the legend, whose rows are higher than lines.
        heading(figure, text, simulated, key + "\n" * (1 + rows))
        save(figure, out)


def roc_figures(stems: Sequence[Path], simulated: bool, out: Path) -> None:
    """Draw `roc_<task>_<dataset>_<protocol>-<setting>` of every evaluation that scores findings.

    Of several pre-training seeds the first is shown.

    Args:
        stems: prediction files without suffix.
        simulated: puts the warning into titles.
        out: folder.
    """
    groups: dict[tuple[str, str, str], dict[str, Path]] = {}
    for stem in sorted(stems):
        task, dataset, setting, bundle = stem.parts[-4:]
        if has_curves(task, setting):
            groups.setdefault((task, dataset, setting), {}).setdefault(bundle_label(bundle), stem)
    for (task, dataset, setting), files in groups.items():
        ordered = {m: files[m] for m in sorted(files, key=lambda method: (method != "random", method))}
        share = "" if task == "zero_shot" else " at 10 % of the labels"
        text = f"{TASK_TITLES[task]}{share}: {dataset}, {setting.replace('-', ', ')}"
        path = out / f"roc_{task}_{dataset}_{setting}"
        roc_figure(ordered, text, simulated, task == "classification", path)
