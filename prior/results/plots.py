"""Figures: label-efficiency curves per task, the headline, gains over `random`, pre-training losses."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot

from prior.metrics.rows import PRIMARY, TASK_TITLES, method_labels
from prior.results.panels import (
    Styles,
    curve_panel,
    dot_panel,
    empty_figure,
    errors,
    heading,
    legend,
    subplots,
)
from prior.results.style import GRID, INK, figure_style, method_style, save
from prior.results.view import headline, load_view, methods_in_order, metric_title

CURVE_METRICS = {
    "classification": ["auroc_macro", "auprc_macro"],
    "segmentation": ["dice_pooled", "dice_image_positive"],
    "detection": ["map_40_75", "map_50_95"],
}
BAR_METRICS = {
    "zero_shot": ["auroc_macro", "accuracy_5x200"],
    "retrieval": ["r_at_1_i2t", "r_at_5_i2t", "r_at_10_i2t", "r_at_10_t2i", "p_at_1_i2t", "p_at_10_i2t"],
    "grounding": ["pointing_game", "cnr", "miou"],
    "prototypes": ["dead_prototypes", "assignment_entropy", "used_perplexity"],
}
NO_LOSS = {"stage", "epoch", "step", "learning_rate"}


def _styles_of(rows: pd.DataFrame, styles: Styles) -> Styles:
    present = set(rows["label"])
    return {label: style for label, style in styles.items() if label in present}


def curves(view: pd.DataFrame, task: str, styles: Styles, out: Path) -> None:
    """Label efficiency of one task: a column of panels per metric, a row per setting with fractions."""
    chosen = view[(view["task"] == task) & view["metric"].isin(CURVE_METRICS[task]) & (view["finding"] == "")]
    counts = chosen.groupby("setting")["fraction"].transform("nunique")
    settings = list(dict.fromkeys(chosen.loc[counts > 1, "setting"])) or list(
        dict.fromkeys(chosen["setting"])
    )
    metrics = [metric for metric in CURVE_METRICS[task] if metric in set(chosen["metric"])]
    styles = _styles_of(chosen, styles)
    size = (3.4 * len(metrics), 2.5 * len(settings) + 0.8)
    figure, panels = subplots(len(settings), len(metrics), size)
    for row, setting in enumerate(settings):
        for column, metric in enumerate(metrics):
            axes = panels[row, column]
            curve_panel(axes, chosen[(chosen["metric"] == metric) & (chosen["setting"] == setting)], styles)
            axes.set_ylabel(metric_title(metric))
            axes.set_title(setting if column == 0 else "", fontsize=8)
            axes.set_xlabel("share of training labels" if row == len(settings) - 1 else "")
    heading(figure, f"{TASK_TITLES[task]}: label efficiency", bool(chosen["simulated"].any()))
    legend(figure, styles)
    save(figure, out)


def headline_figure(view: pd.DataFrame, styles: Styles, out: Path) -> None:
    """The primary metric of every task and data set at 10 % of the labels, one small panel each."""
    chosen = headline(view)
    panels = list(dict.fromkeys(zip(chosen["task"], chosen["setting"], strict=True)))
    if not panels:
        save(empty_figure("Primary metrics, 10 % of the labels", bool(view["simulated"].any())), out)
        return
    styles = _styles_of(chosen, styles)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    size = (2.75 * columns + 0.6, lines * (0.75 + 0.24 * len(styles)) + 0.9)
    figure, grid = subplots(lines, columns, size)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        task, setting = panels[place]
        rows = chosen[(chosen["task"] == task) & (chosen["setting"] == setting)]
        dot_panel(axes, rows, styles, names=place % columns == 0)
        axes.set_title(f"{TASK_TITLES[task]} · {rows['dataset'].iloc[0]}", fontsize=8.5)
        axes.set_xlabel(metric_title(PRIMARY[task]), fontsize=8)
    heading(figure, "Primary metrics, frozen encoders, 10 % of the labels", bool(chosen["simulated"].any()))
    save(figure, out)


def bars(view: pd.DataFrame, task: str, styles: Styles, out: Path) -> None:
    """Metrics of a task that uses no labels: a panel per data set and metric, a dot per method."""
    chosen = view[(view["task"] == task) & view["metric"].isin(BAR_METRICS[task]) & (view["finding"] == "")]
    present = set(zip(chosen["dataset"], chosen["metric"], strict=True))
    datasets = sorted(set(chosen["dataset"]))
    panels = [place for place in product(datasets, BAR_METRICS[task]) if place in present]
    styles = _styles_of(chosen, styles)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    size = (2.75 * columns + 0.6, lines * (0.7 + 0.24 * len(styles)) + 0.7)
    figure, grid = subplots(lines, columns, size)
    for place, (dataset, metric) in enumerate(panels):
        axes = grid.flat[place]
        rows = chosen[(chosen["dataset"] == dataset) & (chosen["metric"] == metric)]
        dot_panel(axes, rows, styles, names=place % columns == 0)
        axes.set_title(metric_title(metric) + (f" · {dataset}" if len(datasets) > 1 else ""), fontsize=8)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    heading(figure, TASK_TITLES[task], bool(chosen["simulated"].any()))
    save(figure, out)


def gains(differences: pd.DataFrame, styles: Styles, out: Path) -> None:
    """Forest plot: paired difference of each task's leading metric over `random`, with interval."""
    chosen = differences[
        (differences["metric"] == differences["task"].map(PRIMARY)) & (differences["reference"] == "random")
    ]
    chosen = chosen.assign(**{name: chosen[name].fillna("") for name in ("variant", "pretraining_data")})
    chosen = chosen.assign(label=method_labels(chosen)).reset_index(drop=True)
    if chosen.empty:
        save(
            empty_figure("Paired gain over the untrained encoder", bool(differences["simulated"].any())), out
        )
        return
    tuned = np.where(chosen["frozen"], "", ", fine-tuned")
    share = chosen["fraction"].map(lambda f: "" if pd.isna(f) else f", {100 * f:g} %")
    place = chosen["task"].map(TASK_TITLES) + " · " + chosen["dataset"] + tuned + share
    rows = list(dict.fromkeys(place))
    styles = _styles_of(chosen, styles)
    figure, axes = pyplot.subplots(figsize=(6.6, 0.34 * max(len(rows), 2) + 1.3), layout="constrained")
    for number, (label, (colour, marker)) in enumerate(styles.items()):
        group = chosen[chosen["label"] == label]
        y = [rows.index(name) + 0.18 * (number - (len(styles) - 1) / 2) for name in place[group.index]]
        values = group.rename(columns={"difference": "value"})
        axes.errorbar(
            values["value"], y, xerr=errors(values), color=colour, marker=marker, linestyle="",
            elinewidth=1.4, markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("difference of the primary metric, 95 % interval")
    heading(figure, "Paired gain over the untrained encoder", bool(chosen["simulated"].any()))
    legend(figure, styles)
    save(figure, out)


def loss_curves(training: Sequence[Path], simulated: bool, out: Path) -> None:
    """Pre-training losses: a panel per bundle, a line per named loss, stages one after the other."""
    logs = {path.parent.name: pd.read_csv(path) for path in sorted(training) if path.stat().st_size > 1}
    logs = {name: frame for name, frame in logs.items() if len(frame)}
    if not logs:
        save(empty_figure("Pre-training losses", simulated), out)
        return
    columns = len(logs)
    figure, grid = subplots(1, columns, (3.6 * columns, 3.0))
    for axes, (name, frame) in zip(grid.flat, logs.items(), strict=False):
        losses = [column for column in frame.columns if column not in NO_LOSS]
        position = np.arange(len(frame))
        for number, loss in enumerate(losses):
            smooth = (
                frame[loss].rolling(max(1, len(frame) // 60), min_periods=1).mean().where(frame[loss].notna())
            )
            colour = method_style([str(k) for k in range(len(losses))])[str(number)][0]
            style = "-" if number < 7 else "--"
            axes.plot(position, smooth, color=colour, linestyle=style, linewidth=1.2, label=loss)
        for edge in np.flatnonzero(frame["stage"].to_numpy()[1:] != frame["stage"].to_numpy()[:-1]):
            axes.axvline(edge + 1, color=GRID, linewidth=1.5)
        axes.set_title(name)
        axes.set_xlabel("logged steps")
        axes.legend(fontsize=6.5, ncols=2 if len(losses) > 4 else 1)
    grid[0, 0].set_ylabel("loss")
    heading(figure, "Pre-training losses", simulated)
    save(figure, out)


def plots(
    results_csv: Path,
    differences_csv: Path,
    training: Sequence[Path],
    out: Path,
    tasks: Sequence[str] | None = None,
) -> None:
    """Draw every figure as `.svg` and `.png` into `out`.

    Args:
        results_csv: the long table.
        differences_csv: paired differences, as `collect` writes them.
        training: `training.csv` of the bundles; empty ones (nothing was trained) are left out.
        out: folder; gets `headline`, `gains`, `pretraining` and `task_<task>`.
        tasks: tasks to draw, by default those of the table; one without rows gets a figure that says so.
    """
    view = load_view(results_csv)
    simulated = bool(view["simulated"].any())
    styles = method_style(methods_in_order(view, baselines=False))
    measured = view[~view["baseline"]]
    with figure_style():
        headline_figure(view, styles, out / "headline")
        gains(pd.read_csv(differences_csv), styles, out / "gains")
        loss_curves(training, simulated, out / "pretraining")
        for task in tasks or list(dict.fromkeys(measured["task"])):
            draw = curves if task in CURVE_METRICS else bars
            if (measured["task"] == task).any():
                draw(view, task, styles, out / f"task_{task}")
            else:
                save(empty_figure(TASK_TITLES[task], simulated), out / f"task_{task}")
