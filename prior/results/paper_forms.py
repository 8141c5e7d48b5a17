"""Tables arranged as PRIOR, PLACE and BenchX compare methods, filled with the cells of this experiment.

PRIOR (ICCV 2023): a table per task, data sets at 1, 10 and 100 % side by side. PLACE (arXiv 2506.10573): its
five tasks in one table. BenchX (NeurIPS 2024): mean and rank of each task, and the average rank.
"""

import pandas as pd

from prior.metrics.rows import PRIMARY, SETTING_COLUMNS, TASK_TITLES
from prior.results.compared import labelled
from prior.results.contamination import sign, strongest
from prior.results.marks import cell_text
from prior.results.view import headline, metric_title
from prior.results.wide import pivot

PAPER_NOTES = (
    "Tasks, metrics and shares of the labels as these papers compare methods by them; protocols, encoders "
    "and data are those of this experiment, and no figure is a paper's. What was not run has no column.",
    "Percent: mean over seeds ± half of the 95 % interval over test patients and seeds (`papers.csv` has "
    "both ends). Columns that are not marked as primary are exploratory.",
)
CSV_COLUMNS = [
    *("form", "method", "column", "role", "value", "ci_low", "ci_high", "mark"),
    *("n_seeds", "n_pretrain_seeds", "simulated", "contamination"),
]
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


def percent_text(value: float, low: float, high: float) -> str:
    """`76.3 ± 2.1`, without ± where there is no interval, and an en dash where a metric is undefined."""
    if pd.isna(value):
        return "–"
    exact = pd.isna(low) or low == high
    return f"{100 * value:.1f}" if exact else f"{100 * value:.1f} ± {50 * (high - low):.1f}"


def _with_text(rows: pd.DataFrame) -> pd.DataFrame:
    """Add `text`: the value in percent with its interval, its mark and the sign of what pre-training saw."""
    names = ("value", "ci_low", "ci_high", "mark", "contamination")
    cells = zip(*(rows[name] for name in names), strict=True)
    text = [cell_text(percent_text(*value), mark, sign(seen)) for *value, mark, seen in cells]
    return rows.assign(text=text)


def _told_apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Name settings that share a column, which columns are primary, and how many seeds they have."""
    several = rows.groupby("column")["setting_text"].transform("nunique") > 1
    column = rows["column"].where(~several, rows["column"] + " · " + rows["protocol_text"])
    still = rows.groupby(column)["setting_text"].transform("nunique") > 1
    column = column.where(~still, rows["column"] + " · " + rows["setting_text"])
    column = column.where(rows["role"] != "primary", column + " · primary")
    seeds = rows["n_seeds"].where(rows["encoder"]).groupby(column).transform("max").fillna(1)
    words = seeds.map(lambda count: f" · {count:.0f} seed{'' if count == 1 else 's'}")
    return rows.assign(column=column + words)


def supervised_forms(view: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A table per task and setting as in PRIOR: data sets and shares of the labels as columns.

    Args:
        view: aggregated rows with the data set's macro metrics.
    """
    found = {}
    for task, metrics in SUPERVISED.items():
        of_task = view[(view["task"] == task) & view["fraction"].notna()]
        for (protocol, head, frozen), group in of_task.groupby(["protocol", "head", "frozen"], sort=False):
            metric = next((metric for metric in metrics if metric in set(group["metric"])), None)
            rows = group[group["metric"] == metric].sort_values(["dataset", "fraction"], kind="stable")
            if rows.empty:
                continue
            setting = f"{protocol}, {head} head, {'frozen' if frozen else 'fine-tuned'} encoder"
            title = f"PRIOR · {TASK_TITLES[task]} · {metric_title(str(metric))} · {setting}"
            found[title] = _told_apart(rows.assign(column=rows["dataset"] + " · " + rows["at"]))
    return found


def compared_forms(view: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Zero-shot classification and retrieval as in PRIOR: data sets and metrics as columns."""
    found = {}
    for task, metrics in COMPARED.items():
        rows = view[(view["task"] == task) & view["metric"].isin(metrics)]
        if len(rows):
            place = rows["metric"].map({metric: place for place, metric in enumerate(metrics)})
            rows = rows.assign(_place=place).sort_values(["protocol", "dataset", "_place"], kind="stable")
            columns = rows["dataset"] + " · " + rows["metric_title"] + " · " + rows["protocol_text"]
            found[f"PRIOR · {TASK_TITLES[task]}"] = _told_apart(rows.assign(column=columns))
    return found


def five_tasks(view: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """PLACE's five tasks as one table: every share of the labels, frozen encoders; empty if none was run."""
    parts = [
        view[(view["task"] == task) & (view["metric"] == metric) & view["frozen"]]
        for task, metrics in FIVE_TASKS.items()
        for metric in metrics
    ]
    if not (parts := [part for part in parts if len(part)]):
        return {}
    rows = pd.concat(parts)
    share = rows["at"].where(rows["fraction"].notna(), "")
    names = zip(rows["task"].map(TASK_TITLES), rows["metric_title"], rows["dataset"], share, strict=True)
    columns = [" · ".join(filter(None, name)) for name in names]
    return {"PLACE · five tasks, frozen encoders": _told_apart(rows.assign(column=columns))}


def rank_forms(view: pd.DataFrame, ranks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """BenchX's table for each block of `ranks.csv`: mean and rank of every task, and the average rank.

    Args:
        view: aggregated rows with the data set's macro metrics.
        ranks: `ranks.csv`, whose methods and tasks are taken.

    Returns:
        Title → rows, methods best first: `mean (rank)` of each task, and the average rank with its interval.
    """
    found = {}
    for block, of_block in labelled(ranks).groupby("block", sort=False):
        labels, tasks = list(of_block["label"]), str(of_block["tasks"].iloc[0]).split()
        rows = headline(view)
        rows = rows[rows["label"].isin(labels) & rows["task"].isin(tasks) & rows["value"].notna()]
        complete = rows.groupby(SETTING_COLUMNS)["label"].transform("nunique") == len(labels)
        rows = rows[complete]
        rows = rows.assign(place=rows.groupby(SETTING_COLUMNS)["value"].rank(ascending=False))
        cells = []
        for (_, task), group in rows.groupby(["label", "task"]):
            cell = {str(key): value for key, value in group.iloc[0].items()}
            cell |= {"column": f"{TASK_TITLES[str(task)]} · primary", "_task": list(PRIMARY).index(str(task))}
            cell |= {"value": group["value"].mean(), "contamination": strongest(group["contamination"])}
            # A mean over several data sets has no interval of its own here.
            cell |= {} if len(group) == 1 else {"ci_low": None, "ci_high": None}
            text = percent_text(cell["value"], cell["ci_low"], cell["ci_high"])
            cells.append({**cell, "text": f"{text} ({group['place'].mean():g})", "mark": ""})
        for row in of_block.to_dict("records"):
            own = {"label": row["label"], "column": "average rank", "_task": len(PRIMARY), "role": "primary"}
            own |= {"value": row["mean_rank"], "ci_low": row["ci_low"], "ci_high": row["ci_high"]}
            own |= {
                "mark": "",
                "n_pretrain_seeds": row["n_pretrain_seeds"],
                "simulated": row["simulated"],
            }
            seen = [cell["contamination"] for cell in cells if cell["label"] == row["label"]]
            own["contamination"] = strongest(seen)
            own["text"] = f"{row['mean_rank']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
            cells.append(own)
        form = pd.DataFrame(cells).sort_values("_task", kind="stable")
        # Methods stand by their place.
        found[f"BenchX · {block}: mean (rank)"] = form.assign(rank=form["label"].map(labels.index))
    return found


def paper_forms(view: pd.DataFrame, ranks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """All of these tables as rows with `label`, `column` and `text`; a task that was not run is left out.

    Args:
        view: of `load_view`.
        ranks: `ranks.csv`.
    """
    macro = _with_text(view[view["finding"] == ""].drop(columns="published", errors="ignore"))
    found = supervised_forms(macro) | compared_forms(macro) | five_tasks(macro)
    return found | rank_forms(macro, ranks)


def paper_tables(forms: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same with methods as rows and `column` as columns."""
    return {title: pivot(rows, "column", "text") for title, rows in forms.items()}


def paper_csv(forms: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The same as one long table: a row for every cell, values as shares of one (ranks as they are)."""
    parts = [rows.assign(form=title, method=rows["label"]) for title, rows in forms.items()]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return table.reindex(columns=CSV_COLUMNS)
