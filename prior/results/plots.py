"""Figures: label efficiency per task, the headline, mean ranks, gains and pre-training losses."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from prior.metrics.rows import PRIMARY, TASK_TITLES, read_rows
from prior.results.compared import labelled
from prior.results.differences import CORRECTED
from prior.results.gains import gain_figure, gain_map, gains_over
from prior.results.losses import loss_figures
from prior.results.panels import (
    PANEL_LETTERS,
    ROW,
    Styles,
    axis_title,
    dot_panel,
    empty_figure,
    grid_of,
    heading,
    panel_title,
    share_heading,
    share_panel,
    styles_of,
    subplots,
    wrapped,
)
from prior.results.seeds import seed_figure
from prior.results.style import WIDTH, figure_style, method_style, save
from prior.results.view import (
    checkpoint_note,
    headline,
    load_view,
    methods_in_order,
    metric_title,
    protocol_note,
)

TASK_METRICS = {
    "classification": ["auroc_macro", "auprc_macro"],
    "segmentation": ["dice_pooled", "dice_image_positive"],
    "detection": ["map_40_75", "map_50_95"],
    "zero_shot": ["auroc_macro", "accuracy_5x200"],
    "retrieval": ["r_at_1_i2t", "r_at_5_i2t", "r_at_10_i2t", "r_at_10_t2i", "p_at_1_i2t", "p_at_10_i2t"],
    "grounding": ["pointing_game", "cnr", "miou"],
    "prototypes": ["dead_prototypes", "assignment_entropy", "used_perplexity"],
    "report_generation": ["clinical_f1_micro", "bleu_4", "rouge_l", "cider"],
}
"""What a task's figure shows; of a task that is not named, the leading metric."""
FOREST = f"Paired difference to {CORRECTED}"
HOLLOW = "Hollow: not significant at 5 % by Holm's rule over the methods of a panel."


def curves(view: pd.DataFrame, task: str, out: Path) -> None:
    """Label efficiency of one task: a column of panels per metric, a row per setting with several shares."""
    wanted = TASK_METRICS.get(task, [PRIMARY[task]])
    chosen = view[(view["task"] == task) & view["metric"].isin(wanted) & (view["finding"] == "")]
    counts = chosen.groupby("setting_text")["fraction"].transform("nunique")
    several = chosen[counts > 1] if (counts > 1).any() else chosen
    settings = list(dict.fromkeys(several["setting_text"]))
    metrics = [metric for metric in wanted if metric in set(several["metric"])]
    labels = methods_in_order(several[~several["baseline"]])
    columns = min(2, len(metrics))
    lines = -(-len(metrics) // columns)
    height = len(settings) * lines * (0.95 + 0.19 * len(labels)) + 0.8
    figure, panels = subplots(len(settings) * lines, columns, (WIDTH, height))
    for row, setting in enumerate(settings):
        own = list(panels[row * lines : (row + 1) * lines].flat)
        for column, axes in enumerate(own):
            if column >= len(metrics):
                axes.set_visible(False)
                continue
            metric = metrics[column]
            rows = several[(several["metric"] == metric) & (several["setting_text"] == setting)]
            share_panel(axes, rows, labels, names=column % columns == 0)
            axis_title(axes, metric_title(metric))
            axes.set_title(wrapped(setting, 2 * PANEL_LETTERS) if column == 0 else "")
    fractions = sorted(several["fraction"].dropna().unique())
    text, simulated = f"{TASK_TITLES[task]}: label efficiency", bool(several["simulated"].any())
    share_heading(figure, text, fractions, simulated, checkpoint_note(several))
    save(figure, out)


def headline_figure(view: pd.DataFrame, styles: Styles, out: Path) -> None:
    """The primary metric of every task and data set at 10 % of the labels, one small panel each."""
    chosen = headline(view)
    panels = list(dict.fromkeys(zip(chosen["task"], chosen["setting_text"], strict=True)))
    text, simulated = "All tasks, frozen encoders, 10 % of the labels", bool(view["simulated"].any())
    if not panels:
        save(empty_figure(text, simulated), out)
        return
    styles = styles_of(chosen, styles)
    figure, grid, columns = grid_of(len(panels), len(styles))
    for place, (axes, (task, setting)) in enumerate(zip(grid, panels, strict=True)):
        rows = chosen[(chosen["task"] == task) & (chosen["setting_text"] == setting)]
        dot_panel(axes, rows, styles, place % columns == 0, _absent(view, setting, rows, styles))
        panel_title(axes, f"{TASK_TITLES[task]}\n{rows['dataset'].iloc[0]}")
        axis_title(axes, metric_title(PRIMARY[task]))
    notes = filter(None, [protocol_note(chosen), checkpoint_note(chosen)])
    heading(figure, text, simulated, "\n".join(notes))
    save(figure, out)


def _absent(view: pd.DataFrame, setting: str, rows: pd.DataFrame, styles: Styles) -> dict[str, str]:
    """Why a method has no value: its cell was refused, or it has no text encoder."""
    tried = set(view.loc[(view["task"] == rows["task"].iloc[0]) & (view["setting_text"] == setting), "label"])
    reading = set(view.loc[view["fraction"].isna(), "label"])
    textless = [label for label in styles if label not in reading] if rows["fraction"].isna().all() else []
    return dict.fromkeys(tried, "omitted") | dict.fromkeys(textless, "no text encoder")


def dots(view: pd.DataFrame, task: str, styles: Styles, out: Path) -> None:
    """Metrics of a task that uses no labels: a panel per data set, protocol and metric, a row per method."""
    wanted = TASK_METRICS.get(task, [PRIMARY[task]])
    chosen = view[(view["task"] == task) & view["metric"].isin(wanted) & (view["finding"] == "")]
    present = set(zip(chosen["setting_text"], chosen["metric"], strict=True))
    settings = list(dict.fromkeys(chosen["setting_text"]))
    panels = [place for place in product(settings, wanted) if place in present]
    styles = styles_of(chosen, styles)
    figure, grid, columns = grid_of(len(panels), len(styles))
    for place, (axes, (setting, metric)) in enumerate(zip(grid, panels, strict=True)):
        rows = chosen[(chosen["setting_text"] == setting) & (chosen["metric"] == metric)]
        dot_panel(axes, rows, styles, names=place % columns == 0)
        panel_title(axes, metric_title(metric) + (f"\n{setting}" if len(settings) > 1 else ""))
    heading(figure, TASK_TITLES[task], bool(chosen["simulated"].any()), checkpoint_note(chosen))
    save(figure, out)


def rank_figure(ranks: pd.DataFrame, styles: Styles, simulated: bool, caption: str, out: Path) -> None:
    """Mean rank of every method with its interval, a panel per block of tasks."""
    text = "Mean rank on the primary metrics, 1 is best"
    if ranks.empty:
        save(empty_figure(text, simulated), out)
        return
    ranks = labelled(ranks).rename(columns={"mean_rank": "value"})
    blocks = list(dict.fromkeys(ranks["block"]))
    height = sum(ROW * (ranks["block"] == block).sum() + 0.5 for block in blocks) + 0.45
    figure, grid = subplots(len(blocks), 1, (WIDTH, height))
    for axes, block in zip(grid.flat, blocks, strict=True):
        rows = ranks[ranks["block"] == block]
        dot_panel(axes, rows, {label: styles[label] for label in rows["label"]}, names=True)
        axes.set_title(f"{block} ({len(rows)})")
        axes.set_xlabel("mean rank, 95 % interval")
    heading(figure, text, simulated, caption)
    save(figure, out)


def clear(out: Path) -> None:
    """Remove the pictures of an earlier run; maps of embeddings stay, another stage may be drawing them."""
    for stale in [*out.glob("*.svg"), *out.glob("*.png")]:
        if not stale.name.removeprefix(".").startswith("embeddings_"):
            stale.unlink()


def plots(results: Path, training: Sequence[Path], tasks: Sequence[str] | None = None) -> None:
    """Draw every figure of the table as `.svg` and `.png` into `results/plots`.

    Args:
        results: folder that `collect` wrote.
        training: `training.csv` of the bundles that were trained.
        tasks: tasks to draw, by default those of the table; one without rows gets a figure that says so.
    """
    view, out = load_view(results / "results.csv"), results / "plots"
    simulated, first = bool(view["simulated"].any()), headline(view)
    caption = "\n".join(filter(None, [protocol_note(first), checkpoint_note(first)]))
    styles = method_style(methods_in_order(view, encoders=True))
    measured = view[~view["baseline"]]
    differences = pd.read_csv(results / "tables" / "differences.csv")
    gains = gains_over(differences, ["random", "chance"])
    corrected = gains_over(differences, [CORRECTED])
    gain, forest = (text + " at 10 % of the labels, frozen encoders" for text in ("Paired gain", FOREST))
    with figure_style():
        headline_figure(view, styles, out / "headline")
        gain_figure(gains, gain, styles, simulated, caption, out / "gains")
        key = "\n".join(filter(None, [HOLLOW, caption]))
        gain_figure(corrected, forest, styles, simulated, key, out / "forest")
        gain_map(gains, styles, simulated, checkpoint_note(view), out / "gain_map")
        rank_figure(pd.read_csv(results / "tables" / "ranks.csv"), styles, simulated, caption, out / "ranks")
        seed_figure(read_rows(results / "results.csv"), styles, simulated, caption, out / "seeds")
        loss_figures(training, simulated, out)
        for task in tasks or list(dict.fromkeys(measured["task"])):
            rows = measured[measured["task"] == task]
            if rows.empty:
                save(empty_figure(TASK_TITLES[task], simulated), out / f"task_{task}")
            elif rows["fraction"].notna().any():
                curves(view, task, out / f"task_{task}")
            else:
                dots(view, task, styles, out / f"task_{task}")
