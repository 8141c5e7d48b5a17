"""Tables for readers, in Markdown and CSV, from `results.csv` and the comparisons that `collect` wrote."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd

from prior.data.files import atomic_path, write_text
from prior.metrics.rows import PRIMARY, TASK_TITLES
from prior.results.compared import ablation_tables, difference_tables, rank_tables
from prior.results.view import (
    SIMULATED_NOTE,
    checkpoint_note,
    headline,
    load_view,
    methods_in_order,
    metric_title,
    title,
    value_text,
)

CSV_COLUMNS = [
    *("task", "setting", "metric", "finding", "at", "label", "value", "ci_low", "ci_high", "n_seeds"),
    *("n_pretrain_seeds", "n_train", "n_test", "n_pos", "simulated"),
]
INTERVAL_NOTE = "Mean [95 % interval over test patients and seeds]."
RANK_NOTE = (
    "Mean rank on the primary metrics (1 is best; data sets of one task are averaged first) "
    "[95 % of the ranks when test patients and seeds are drawn anew]."
)
ABLATION_NOTE = "Δ: paired difference to the full variant (first row)."
WIDEST = 6
"""Columns that a reader can take in, and a page can hold, beside the methods."""


def pivot(view: pd.DataFrame, column: str) -> pd.DataFrame:
    """Methods as rows, `column` as columns (both in the order of `view`), cells as text with interval."""
    cells = [
        value_text(value, low, high)
        for value, low, high in zip(view["value"], view["ci_low"], view["ci_high"], strict=True)
    ]
    text = view.assign(cell=cells)
    wide = text.pivot_table(index="label", columns=column, values="cell", aggfunc="first", sort=False)
    columns = list(dict.fromkeys(view[column]))
    return wide.reindex(index=methods_in_order(view), columns=columns).fillna("").rename_axis(None)


def parts(wide: pd.DataFrame) -> list[pd.DataFrame]:
    """Cut a table with too many columns into several with the same rows and about equally many columns."""
    count = -(-wide.shape[1] // WIDEST)
    edges = [round(k * wide.shape[1] / count) for k in range(count + 1)] if count else []
    return [wide.iloc[:, low:high] for low, high in pairwise(edges)]


def _markdown(frame: pd.DataFrame, first: str) -> str:
    tables = [part.rename_axis(first).reset_index() for part in parts(frame)]
    return "\n\n".join(table.to_markdown(index=False, disable_numparse=True) for table in tables)


def seed_notes(view: pd.DataFrame) -> list[str]:
    """What the interval is, how many seeds of both kinds, and what the comparison is therefore of."""
    measured = view[view["encoder"]]
    cells, pretrainings = (
        " or ".join(f"{n:.0f}" for n in sorted(set(counts.dropna()))) or "no"
        for counts in (
            measured["n_seeds"] / measured["n_pretrain_seeds"].clip(1),
            measured["n_pretrain_seeds"],
        )
    )
    seeds = f"Seeds: {pretrainings} of pre-training, {cells} of each evaluation."
    return [f"{INTERVAL_NOTE} {seeds}", *filter(None, [checkpoint_note(view)])]


def notes(view: pd.DataFrame) -> str:
    """Caption under a table: simulated or not, then the notes on seeds."""
    return "\n\n".join([*([SIMULATED_NOTE] if view["simulated"].any() else []), *seed_notes(view)])


def metrics_in_order(view: pd.DataFrame, task: str) -> list[str]:
    """The leading metric and its like first, numbers by size; unfit findings only where there are some."""

    def order(metric: str) -> tuple[bool, bool, list[str | int]]:
        numbers = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", metric)]
        return metric.split("_at_")[0] != PRIMARY[task].split("_at_")[0], "_at_" not in metric, numbers

    unfit = view.loc[view["metric"] == "n_unfit", "value"]
    found = sorted(set(view["metric"]), key=order)
    return [metric for metric in found if metric != "n_unfit" or (unfit > 0).any()]


def by_metric(view: pd.DataFrame, task: str) -> pd.DataFrame:
    """Methods as rows, metrics as columns, for tasks that use no labels."""
    titles = [metric_title(metric) for metric in metrics_in_order(view, task)]
    return pivot(view, "metric_title")[titles]


def _task_markdown(view: pd.DataFrame, task: str) -> str:
    simulated = bool(view["simulated"].any())
    found = [f"# {title(TASK_TITLES[task], simulated)}", notes(view)]
    for setting, group in view.groupby("setting", sort=False):
        sizes = group[~group["baseline"] & (group["finding"] == "")]
        tested = f"{sizes['n_test'].max():.0f} test images" if len(sizes) else ""
        found.append(f"## {title(str(setting), simulated)}\n\n{tested}")
        for finding, chosen in (
            (False, group[group["finding"] == ""]),
            (True, group[group["finding"] != ""]),
        ):
            found += _metric_sections(chosen, task, finding)
    return "\n\n".join(part for part in found if part) + "\n"


def _metric_sections(view: pd.DataFrame, task: str, by_finding: bool) -> list[str]:
    found = []
    labelled = view["fraction"].notna().any()
    if not by_finding and not labelled and len(view):
        return [_markdown(by_metric(view, task), "method")]
    for metric in metrics_in_order(view, task):
        chosen = view[view["metric"] == metric]
        primary = " (primary at 10 %)" if metric == PRIMARY.get(task) and labelled else ""
        if not by_finding:
            found += [f"### {metric_title(metric)}{primary}", _markdown(pivot(chosen, "at"), "method")]
            continue
        for at, group in chosen.groupby("at", sort=False):
            heading = f"### {metric_title(metric)} by finding, {at}"
            found += [heading, _markdown(pivot(group, "finding"), "method")]
    return found


def headline_table(view: pd.DataFrame) -> pd.DataFrame:
    """Methods as rows, one column per task and data set, the primary metric at 10 % with frozen encoders."""
    chosen = headline(view)
    named = chosen["task"].map(TASK_TITLES) + " · " + chosen["metric_title"] + " · " + chosen["dataset"]
    return pivot(chosen.assign(column=named), "column")


def _write_csv(frame: pd.DataFrame, path: Path, index: bool = False) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=index, lineterminator="\n", float_format="%.6g")


def _compared_markdown(heading: str, view: pd.DataFrame, notes: Sequence[str], found: dict[str, str]) -> str:
    simulated = bool(view["simulated"].any())
    sections = [f"## {title(name, simulated)}\n\n{table}" for name, table in found.items()]
    warning = [SIMULATED_NOTE] if simulated else []
    lines = [f"# {title(heading, simulated)}", *warning, *notes, *(sections or ["Nothing to compare."])]
    return "\n\n".join(lines) + "\n"


def _compared(view: pd.DataFrame, out: Path, with_ablations: bool) -> None:
    notes = seed_notes(view)
    kinds = [
        ("differences", "Paired differences", notes, difference_tables),
        ("ranks", "Mean ranks", [RANK_NOTE, *notes[1:]], rank_tables),
    ]
    if with_ablations:
        kinds.append(("ablations", "Ablations, primary metrics", [ABLATION_NOTE, *notes], ablation_tables))
    for name, heading, lines, make in kinds:
        frames = make(pd.read_csv(out / f"{name}.csv"))
        found = {key: frame.to_markdown(index=False, disable_numparse=True) for key, frame in frames.items()}
        write_text(out / f"{name}.md", _compared_markdown(heading, view, lines, found))


def tables(results: Path, tasks: Sequence[str] = tuple(PRIMARY), with_ablations: bool = False) -> None:
    """Write `headline`, the comparisons and one table per task below `results/tables`.

    Comparisons get a `.md` beside the `.csv` that `collect` left there; all others get both.

    Args:
        results: folder that `collect` wrote.
        tasks: tasks to write; one without rows gets a table that says so.
        with_ablations: whether `collect` wrote `ablations.csv`.
    """
    view, out = load_view(results / "results.csv"), results / "tables"
    simulated = bool(view["simulated"].any())
    table = headline_table(view)
    heading = title("All tasks at 10 % of the labels, frozen encoders", simulated)
    write_text(
        out / "headline.md", f"# {heading}\n\n{_markdown(table, 'method')}\n\n{notes(headline(view))}\n"
    )
    _write_csv(table, out / "headline.csv", index=True)
    _compared(view, out, with_ablations)
    for task in tasks:
        chosen = view[view["task"] == task]
        text = _task_markdown(chosen, task) if len(chosen) else f"# {TASK_TITLES[task]}\n\nNot evaluated.\n"
        write_text(out / f"{task}.md", text)
        _write_csv(
            chosen[CSV_COLUMNS].rename(columns={"label": "method", "at": "labels"}), out / f"{task}.csv"
        )
