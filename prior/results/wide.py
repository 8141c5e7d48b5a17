"""Tables as readers see them: methods as rows, what is compared as columns, from the aggregated rows."""

import re
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from prior.metrics.rows import DIAGNOSTIC_TASKS, PRIMARY, TASK_TITLES, fraction_text
from prior.results.contamination import sign
from prior.results.marks import cell_text
from prior.results.view import headline, methods_in_order, metric_title, value_text

WIDEST = 6
"""Columns that a reader can take in, and a page can hold, beside the methods."""


def pivot(view: pd.DataFrame, column: str, values: str = "cell") -> pd.DataFrame:
    """Methods as rows, `column` as columns (both in the order of `view`).

    Args:
        view: rows of one metric, or of several that `column` tells apart.
        column: what the columns are.
        values: what the cells hold; `cell` is the value as text, with interval, mark, the sign of what
            pre-training saw, and `published` figures where `view` has them.
    """
    if "published" not in view:
        view = view.assign(published="")
    names = ("value", "ci_low", "ci_high", "mark", "contamination", "published")
    cells = [
        cell_text(value_text(value, low, high), mark, sign(contamination), published)
        for value, low, high, mark, contamination, published in zip(*(view[n] for n in names), strict=True)
    ]
    text = view.assign(cell=cells).drop_duplicates(["label", column])
    wide = text.set_index(["label", column])[values].unstack(column)
    columns = list(dict.fromkeys(view[column]))
    return wide.reindex(index=methods_in_order(view), columns=columns).fillna("").rename_axis(None)


def parts(wide: pd.DataFrame) -> list[pd.DataFrame]:
    """Cut a table with too many columns into several with the same rows and about equally many columns."""
    count = -(-wide.shape[1] // WIDEST)
    edges = [round(k * wide.shape[1] / count) for k in range(count + 1)] if count else []
    return [wide.iloc[:, low:high] for low, high in pairwise(edges)]


def metrics_in_order(view: pd.DataFrame, task: str) -> list[str]:
    """The leading metric and its like first, numbers by size; unfit findings only where there are some."""

    def order(metric: str) -> tuple[bool, bool, list[str | int]]:
        numbers = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", metric)]
        return metric.split("_at_")[0] != PRIMARY[task].split("_at_")[0], "_at_" not in metric, numbers

    unfit = view.loc[view["metric"] == "n_unfit", "value"]
    found = sorted(set(view["metric"]), key=order)
    return [metric for metric in found if metric != "n_unfit" or (unfit > 0).any()]


def by_metric(view: pd.DataFrame, task: str, values: str = "cell") -> pd.DataFrame:
    """Methods as rows, metrics as columns, for tasks that use no labels."""
    titles = [metric_title(metric) for metric in metrics_in_order(view, task)]
    return pivot(view, "metric_title", values)[titles]


def role_title(view: pd.DataFrame) -> str:
    """Whether rows of one metric are a primary endpoint, at which share of the labels, or exploratory."""
    leading = view.loc[view["role"] == "primary", "fraction"]
    if leading.empty:
        return "exploratory"
    return "primary" if leading.isna().all() else f"primary at {fraction_text(leading.min())}"


def task_tables(
    view: pd.DataFrame, task: str, values: str = "cell", findings: Sequence[str] | None = None
) -> dict[tuple[str, str], pd.DataFrame]:
    """(Setting, what is shown) → methods as rows, with the primary endpoints first.

    Args:
        view: rows of one task.
        task: its name.
        values: what the cells hold.
        findings: metrics that are also tabulated by finding; all of them, if not given.
    """
    found: dict[tuple[str, str], pd.DataFrame] = {}
    groups = list(view.groupby("setting", sort=False))
    for setting, group in sorted(groups, key=lambda item: "primary" not in set(item[1]["role"])):
        macro, single = group[group["finding"] == ""], group[group["finding"] != ""]
        if macro["fraction"].isna().all():
            roles = {"primary": f"{metric_title(PRIMARY[task])} (primary)"}
            for role, name in (roles | {"exploratory": "Further metrics (exploratory)"}).items():
                if len(rows := macro[macro["role"] == role]):
                    found[str(setting), name] = by_metric(rows, task, values)
        else:
            for metric in metrics_in_order(macro, task):
                rows = macro[macro["metric"] == metric]
                name = f"{metric_title(metric)} ({role_title(rows)})"
                found[str(setting), name] = pivot(rows, "at", values)
        for metric in metrics_in_order(single, task):
            if findings is None or metric in findings:
                for at, rows in single[single["metric"] == metric].groupby("at", sort=False):
                    name = f"{metric_title(metric)} by finding, {at} (exploratory)"
                    found[str(setting), name] = pivot(rows, "finding", values)
    return found


def headline_table(view: pd.DataFrame, values: str = "cell") -> pd.DataFrame:
    """Methods as rows, one column per task and data set, the primary metric at 10 % with frozen encoders."""
    chosen = headline(view)
    named = chosen["task"].map(TASK_TITLES) + " · " + chosen["metric_title"] + " · " + chosen["dataset"]
    return pivot(chosen.assign(column=named), "column", values)


def protocol_tables(view: pd.DataFrame, values: str = "cell") -> dict[str, pd.DataFrame]:
    """Task, metric and data set → the leading metric, with a column per share, protocol and what is tuned."""
    leading = view[(view["metric"] == view["task"].map(PRIMARY)) & (view["finding"] == "")]
    leading = leading[~leading["task"].isin(DIAGNOSTIC_TASKS)]
    order = {task: place for place, task in enumerate(PRIMARY)}
    leading = leading.assign(_order=leading["task"].map(order)).sort_values("_order", kind="stable")
    found = {}
    for (task, metric, dataset), rows in leading.groupby(["task", "metric_title", "dataset"], sort=False):
        # One data set is named in the title; what is left of a setting tells its protocol and what is tuned.
        protocol = rows["setting"].str.removeprefix(f"{dataset}, ").str.replace(", ", " · ")
        rows = rows.assign(column=rows["at"] + " · " + protocol).sort_values("fraction", kind="stable")
        found[f"{TASK_TITLES[str(task)]} · {metric} · {dataset}"] = pivot(rows, "column", values)
    return found
