"""Tables arranged as PRIOR, PLACE and BenchX compare methods, filled with the cells of this experiment.

PRIOR (ICCV 2023): a table per task, data sets at 1, 10 and 100 % side by side. PLACE (arXiv 2506.10573): its
five tasks in one table. BenchX (NeurIPS 2024): mean and rank of each task, and the average rank.
"""

import pandas as pd

from prior.metrics.rows import PRIMARY, SETTING_COLUMNS, TASK_TITLES
from prior.results.compared import labelled
from prior.results.contamination import sign
from prior.results.marks import cell_text
from prior.results.view import headline, metric_title
from prior.results.wide import pivot

PAPER_NOTES = (
    "Tasks, metrics and shares of the labels as these papers compare methods by them; protocols, encoders "
    "and data are those of this experiment, and no figure is a paper's. Percent, mean over seeds; what was "
    "not run has no column. Intervals are in the tables of the tasks, those of the ranks in `ranks.md`.",
)
SUPERVISED = {
    "classification": ("auroc_macro",),
    "segmentation": ("dice_image_positive", "dice_pooled"),
    "detection": ("map_40_75_positive", "map_40_75"),
}
"""Task → the metric that PRIOR prints, then what stands for it where a protocol does not compute that."""
COMPARED = {
    "zero_shot": ("accuracy_5x200", "auroc_macro"),
    "retrieval": tuple(f"p_at_{k}_{direction}" for direction in ("i2t", "t2i") for k in (1, 5, 10)),
}
FIVE_TASKS = {
    "classification": ("auroc_macro",),
    "retrieval": ("p_at_1_i2t", "p_at_5_i2t", "p_at_10_i2t"),
    "segmentation": ("dice_pooled",),
    "detection": ("map_40_75",),
    "report_generation": ("bleu_1", "bleu_4", "rouge_l", "clinical_f1_micro"),
}


def _percent(rows: pd.DataFrame) -> pd.DataFrame:
    """Add `percent`: the value as papers print it, with its mark."""
    values = ["–" if pd.isna(value) else f"{100 * value:.1f}" for value in rows["value"]]
    cells = zip(values, rows["mark"], rows["contamination"], strict=True)
    return rows.assign(percent=[cell_text(value, mark, sign(source)) for value, mark, source in cells])


def supervised_tables(view: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A table per task and setting as in PRIOR: data sets and shares of the labels as columns.

    Args:
        view: aggregated rows of the encoders, with the data set's macro metrics.
    """
    found = {}
    for task, metrics in SUPERVISED.items():
        rows = view[(view["task"] == task) & view["fraction"].notna()]
        metric = next((metric for metric in metrics if metric in set(rows["metric"])), None)
        rows = rows[rows["metric"] == metric].sort_values(["dataset", "fraction"], kind="stable")
        for (protocol, head, frozen), group in rows.groupby(["protocol", "head", "frozen"], sort=False):
            setting = f"{protocol}, {head} head, {'frozen' if frozen else 'fine-tuned'} encoder"
            title = f"PRIOR · {TASK_TITLES[task]} · {metric_title(str(metric))} · {setting}"
            columns = group["dataset"] + " · " + group["at"]
            found[title] = pivot(group.assign(column=columns), "column", "percent")
    return found


def compared_tables(view: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Zero-shot classification and retrieval as in PRIOR: data sets and metrics as columns."""
    found = {}
    for task, metrics in COMPARED.items():
        rows = view[(view["task"] == task) & view["metric"].isin(metrics)]
        if len(rows):
            place = rows["metric"].map({metric: place for place, metric in enumerate(metrics)})
            rows = rows.assign(_place=place).sort_values(["protocol", "dataset", "_place"], kind="stable")
            columns = rows["dataset"] + " · " + rows["metric_title"] + " · " + rows["protocol"]
            found[f"PRIOR · {TASK_TITLES[task]}"] = pivot(rows.assign(column=columns), "column", "percent")
    return found


def five_tasks(view: pd.DataFrame) -> pd.DataFrame:
    """PLACE's five tasks as one table: every share of the labels, frozen encoders; empty if none was run."""
    parts = [
        view[(view["task"] == task) & (view["metric"] == metric) & view["frozen"]]
        for task, metrics in FIVE_TASKS.items()
        for metric in metrics
    ]
    if not (parts := [part for part in parts if len(part)]):
        return pd.DataFrame()
    rows = pd.concat(parts)
    share = rows["at"].where(rows["fraction"].notna(), "")
    names = zip(rows["task"].map(TASK_TITLES), rows["metric_title"], rows["dataset"], share, strict=True)
    columns = [" · ".join(filter(None, name)) for name in names]
    rows = rows.assign(column=columns)
    several = rows.groupby("column")["protocol"].transform("nunique") > 1
    rows["column"] = rows["column"].where(~several, rows["column"] + " · " + rows["protocol"])
    return pivot(rows, "column", "percent")


def rank_forms(view: pd.DataFrame, ranks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """BenchX's table for each block of `ranks.csv`: mean and rank of every task, and the average rank.

    Args:
        view: aggregated rows of the encoders.
        ranks: `ranks.csv`, whose methods and tasks are taken.

    Returns:
        Title → methods as rows, best first, tasks as columns with `mean (rank)`, and `average rank`.
    """
    found = {}
    for block, of_block in labelled(ranks).groupby("block", sort=False):
        labels, tasks = list(of_block["label"]), str(of_block["tasks"].iloc[0]).split()
        rows = headline(view)
        rows = rows[rows["label"].isin(labels) & rows["task"].isin(tasks) & rows["value"].notna()]
        complete = rows.groupby(SETTING_COLUMNS)["label"].transform("nunique") == len(labels)
        rows = rows[complete]
        rows = rows.assign(place=rows.groupby(SETTING_COLUMNS)["value"].rank(ascending=False))
        means = rows.groupby(["label", "task"])[["value", "place"]].mean()
        cells = [
            f"{100 * value:.1f} ({place:g})"
            for value, place in zip(means["value"], means["place"], strict=True)
        ]
        wide = means.assign(cell=cells)["cell"].unstack("task")
        wide = wide.reindex(index=labels, columns=[task for task in PRIMARY if task in wide])
        average = [f"{rank:.2f}" for rank in of_block["mean_rank"]]
        named = wide.rename(columns=TASK_TITLES).rename_axis(index=None, columns=None)
        found[f"BenchX · {block}: mean (rank)"] = named.assign(**{"average rank": average})
    return found


def paper_tables(view: pd.DataFrame, ranks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """All of these tables, methods as rows; a task that was not run is left out.

    Args:
        view: of `load_view`.
        ranks: `ranks.csv`.
    """
    macro = _percent(view[view["encoder"] & (view["finding"] == "")])
    found = supervised_tables(macro) | compared_tables(macro)
    place = five_tasks(macro)
    found |= {"PLACE · five tasks, frozen encoders": place} if place.size else {}
    return found | rank_forms(macro, ranks)
