"""Tables as readers see them: methods as rows, what is compared as columns, from the aggregated rows."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd

from prior.errors import InputError
from prior.metrics.rows import DIAGNOSTIC_TASKS, PRIMARY, TASK_TITLES, fraction_text
from prior.protocols import load_protocol
from prior.results.contamination import mark_of, sign
from prior.results.marks import cell_text
from prior.results.view import headline, methods_in_order, metric_title, value_text

WIDEST = 6
"""Columns that a reader can take in, and a page can hold, beside the methods."""
CONTAMINATION = "contamination"
"""Last column: what the pre-training of a row saw of the test sets beside it."""
OF_FINDINGS = ("auroc", "auprc", "f1", "accuracy")
"""Metrics that a protocol names by the finding, and rows of all findings by `_macro`."""
HEADLINE_PARTS = ("metric_title", "dataset", "protocol_text")


def pivot(view: pd.DataFrame, column: str, values: str = "cell") -> pd.DataFrame:
    """Methods as rows, `column` as columns (both in the order of `view`).

    Args:
        view: rows of one metric, or of several that `column` tells apart.
        column: what the columns are.
        values: what the cells hold; `plain` is the value as text with its interval, and `cell` that with
            mark, the sign of what pre-training saw, and `published` figures where `view` has them.

    Returns:
        The table; its last column, `contamination`, is left out where the rows say nothing of it.
    """
    if "published" not in view:
        view = view.assign(published="")
    texts = [
        value_text(*interval) for interval in view[["value", "ci_low", "ci_high"]].itertuples(index=False)
    ]
    names = ("mark", "contamination", "published")
    cells = [
        cell_text(text, mark, sign(contamination), published)
        for text, mark, contamination, published in zip(texts, *(view[name] for name in names), strict=True)
    ]
    text = view.assign(plain=texts, cell=cells).drop_duplicates(["label", column])
    wide = text.set_index(["label", column])[values].unstack(column)
    columns = list(dict.fromkeys(view[column]))
    wide = wide.reindex(index=methods_in_order(view), columns=columns).fillna("").rename_axis(None)
    marks = row_marks(view)
    if not any(marks.values()):
        return wide
    return wide.assign(**{CONTAMINATION: "" if values == "row" else [marks[label] for label in wide.index]})


def row_marks(view: pd.DataFrame, by: str = "label") -> dict[str, str]:
    """Method → what pre-training saw of the test sets in `view`: `none`, or for instance `none, patients`."""
    marks = view["contamination"].map(mark_of)
    return {str(name): ", ".join(sorted(set(of_row) - {""})) for name, of_row in marks.groupby(view[by])}


def with_row_marks(frames: Mapping[str, pd.DataFrame], view: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Comparisons of methods, each with the column `contamination` as the last one.

    Args:
        frames: title → table with `method`, or of one method with `variant`. A title that begins with a task
            and a setting in words is of that setting; others are of the primary endpoints.
        view: of `load_view`.
    """
    places = view["task"].map(TASK_TITLES) + " · " + view["setting_text"]
    leading = headline(view)
    found = {}
    for title, frame in frames.items():
        here = view[[title.startswith(f"{place} · ") for place in places]]
        by = "method" if "method" in frame else "variant"
        if by == "variant":
            here = leading[leading["method"] == title.split(" on ")[0]]
        marks = row_marks(here if len(here) else leading, "label" if by == "method" else "variant")
        named = [marks.get(name, "") for name in frame[by]]
        found[title] = frame.assign(**{CONTAMINATION: named}) if any(named) else frame
    return found


def parts(wide: pd.DataFrame) -> list[pd.DataFrame]:
    """Cut a table with too many columns into several with the same rows and about equally many columns."""
    last = wide[[CONTAMINATION]] if CONTAMINATION in wide else wide.iloc[:, :0]
    wide = wide.drop(columns=last.columns)
    count = -(-wide.shape[1] // WIDEST)
    edges = [round(k * wide.shape[1] / count) for k in range(count + 1)] if count else []
    return [wide.iloc[:, low:high].join(last) for low, high in pairwise(edges)]


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
    wide = pivot(view, "metric_title", values)
    return wide[[*titles, *wide.columns.intersection([CONTAMINATION])]]


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
    groups = list(view.groupby("setting_text", sort=False))
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
    parts = (chosen["task"].map(TASK_TITLES), *(chosen[name] for name in HEADLINE_PARTS))
    named = [" · ".join(column) for column in zip(*parts, strict=True)]
    return pivot(chosen.assign(column=named), "column", values)


def own_metric(task: str, protocol: str, setting: str) -> str:
    """The metric that a protocol names first, as rows name it; of an unknown one the leading metric."""
    try:
        stated = load_protocol(protocol, task, setting)
        named = str(stated["metrics"][0])
    except InputError:
        return PRIMARY[task]
    if named in OF_FINDINGS:
        return f"{named}_macro"
    if task != "retrieval":
        return named
    # ConVIRT's texts are queries of its list, elsewhere papers lead with images as queries.
    return f"{named}_{'t2i' if stated['candidates'] == 'list of 8x200' else 'i2t'}"


def protocol_rows(view: pd.DataFrame) -> pd.DataFrame:
    """Rows of each task's leading metric, and of what each setting's own protocol is led by.

    Args:
        view: aggregated rows, for instance of `load_view`.

    Returns:
        The rows in the order of the tasks, with `leading` and `own`, of which at least one is true.
    """
    macro = view[(view["finding"] == "") & ~view["task"].isin(DIAGNOSTIC_TASKS)]
    places = zip(macro["task"], macro["protocol"], macro["setting"], strict=True)
    own = pd.Series([own_metric(*place) for place in places], macro.index, dtype=object)
    macro = macro.assign(leading=macro["metric"] == macro["task"].map(PRIMARY), own=macro["metric"] == own)
    order = {task: place for place, task in enumerate(PRIMARY)}
    macro = macro.assign(_order=macro["task"].map(order)).sort_values("_order", kind="stable")
    return macro[macro["leading"] | macro["own"]]


def protocol_tables(view: pd.DataFrame, values: str = "cell") -> dict[str, pd.DataFrame]:
    """Task and data set → the leading metric, with a column per share, protocol and what is tuned.

    Where a protocol is led by another metric than the task, a second table has every protocol's own one.
    """
    found = {}
    for (task, dataset), rows in protocol_rows(view).groupby(["task", "dataset"], sort=False):
        # One data set is named in the title; what is left of a setting tells its protocol and what is tuned.
        protocol = rows["setting_text"].str.removeprefix(f"{dataset}, ").str.replace(", ", " · ")
        rows = rows.assign(column=rows["at"] + " · " + protocol).sort_values("fraction", kind="stable")
        leading, own = rows[rows["leading"]], rows[rows["own"]]
        name, metric = TASK_TITLES[str(task)], metric_title(PRIMARY[str(task)])
        if len(leading):
            found[f"{name} · {metric} · {dataset}"] = pivot(leading, "column", values)
        if not own["leading"].all():
            named = own.assign(column=own["column"] + " · " + own["metric_title"])
            found[f"{name} · every protocol's own metric · {dataset}"] = pivot(named, "column", values)
    return found
