"""Tables for readers, in Markdown and CSV, from `results.csv` and the paired differences alone."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from prior.data.files import atomic_path, write_text
from prior.metrics.rows import PRIMARY, TASK_TITLES, fraction_text, method_labels, setting_text
from prior.results.view import (
    SIMULATED_NOTE,
    headline,
    load_view,
    methods_in_order,
    metric_title,
    title,
    value_text,
)

CSV_COLUMNS = [
    *("task", "setting", "metric", "finding", "at", "label", "value", "ci_low", "ci_high", "n_seeds"),
    *("n_train", "n_test", "n_pos", "simulated"),
]
INTERVAL_NOTE = "Mean [95 % interval over test patients and seeds]."
CHECKPOINT_NOTE = "One pre-training seed per method: the rows compare these checkpoints, not the objectives."


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


def _markdown(frame: pd.DataFrame, first: str) -> str:
    return frame.rename_axis(first).reset_index().to_markdown(index=False, disable_numparse=True)


def notes(view: pd.DataFrame) -> str:
    """Caption under a table: simulated or not, what the interval is, how many seeds."""
    lines = [SIMULATED_NOTE] if view["simulated"].any() else []
    measured = view[~view["baseline"]]
    counts = sorted({int(n) for n in measured["n_seeds"].dropna()})
    seeds = " or ".join(str(n) for n in counts) or "no"
    lines.append(f"{INTERVAL_NOTE} {seeds} seed{'' if counts == [1] else 's'}.")
    if measured["pretrain_seed"].notna().all():
        lines.append(CHECKPOINT_NOTE)
    return "\n\n".join(lines)


def metrics_in_order(view: pd.DataFrame, task: str) -> list[str]:
    """The leading metric first; the count of unfit findings only where there are some."""
    metrics = sorted(set(view["metric"]), key=lambda metric: (metric != PRIMARY.get(task), metric))
    unfit = view.loc[view["metric"] == "n_unfit", "value"]
    return [metric for metric in metrics if metric != "n_unfit" or (unfit > 0).any()]


def _task_markdown(view: pd.DataFrame, task: str) -> str:
    simulated = bool(view["simulated"].any())
    parts = [f"# {title(TASK_TITLES[task], simulated)}", notes(view)]
    for setting, group in view.groupby("setting", sort=False):
        sizes = group[~group["baseline"] & (group["finding"] == "")]
        tested = f"{sizes['n_test'].max():.0f} test images" if len(sizes) else ""
        parts.append(f"## {title(str(setting), simulated)}\n\n{tested}")
        for finding, chosen in (
            (False, group[group["finding"] == ""]),
            (True, group[group["finding"] != ""]),
        ):
            parts += _metric_sections(chosen, task, finding)
    return "\n\n".join(part for part in parts if part) + "\n"


def _metric_sections(view: pd.DataFrame, task: str, by_finding: bool) -> list[str]:
    parts = []
    labelled = view["fraction"].notna().any()
    if not by_finding and not labelled and len(view):
        return [_markdown(pivot(view, "metric_title").T, "metric")]
    for metric in metrics_in_order(view, task):
        chosen = view[view["metric"] == metric]
        primary = " (primary at 10 %)" if metric == PRIMARY.get(task) and labelled else ""
        if not by_finding:
            parts += [f"### {metric_title(metric)}{primary}", _markdown(pivot(chosen, "at"), "method")]
            continue
        for at, group in chosen.groupby("at", sort=False):
            heading = f"### {metric_title(metric)} by finding, {at}"
            parts += [heading, _markdown(pivot(group, "finding").T, "finding")]
    return parts


def headline_table(view: pd.DataFrame) -> pd.DataFrame:
    """Methods as rows, one column per task and data set, the primary metric at 10 % with frozen encoders."""
    chosen = headline(view)
    named = chosen["task"].map(TASK_TITLES) + " · " + chosen["metric_title"] + " · " + chosen["dataset"]
    return pivot(chosen.assign(column=named), "column")


def difference_table(differences: pd.DataFrame) -> pd.DataFrame:
    """Differences of each task's leading metric, ready for reading."""
    chosen = differences[differences["metric"] == differences["task"].map(PRIMARY)].copy()
    text_columns = ["variant", "pretraining_data", "head", "split", "reference"]
    chosen[text_columns] = chosen[text_columns].fillna("")
    rows = chosen.to_dict("records")
    return pd.DataFrame(
        {
            "task": chosen["task"].map(TASK_TITLES),
            "setting": [setting_text({str(k): v for k, v in row.items()}) for row in rows],
            "labels": chosen["fraction"].map(fraction_text),
            "metric": chosen["metric"].map(metric_title),
            "method": method_labels(chosen),
            "minus": chosen["reference"],
            "difference": [value_text(row["difference"], row["ci_low"], row["ci_high"]) for row in rows],
            "p": [_p_text(row["p"]) for row in rows],
            "p (Holm)": [_p_text(row["p_holm"]) for row in rows],
            "role": chosen["role"],
        }
    )


def _p_text(p: float) -> str:
    if pd.isna(p):
        return ""
    return "< .001" if p < 0.001 else f"{p:.3f}"


def _write_csv(frame: pd.DataFrame, path: Path, index: bool = False) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=index, lineterminator="\n", float_format="%.6g")


def tables(
    results_csv: Path, differences_csv: Path, out: Path, tasks: Sequence[str] = tuple(PRIMARY)
) -> None:
    """Write `headline`, `differences` and one table per task as `.md` and `.csv` into `out`.

    Args:
        results_csv: the long table.
        differences_csv: paired differences, as `collect` writes them.
        out: folder; `differences.csv` itself is left as it is.
        tasks: tasks to write; one without rows gets a table that says so.
    """
    view = load_view(results_csv)
    simulated = bool(view["simulated"].any())
    table = headline_table(view)
    heading = title("Primary metrics at 10 % of the labels, frozen encoders", simulated)
    write_text(
        out / "headline.md", f"# {heading}\n\n{_markdown(table, 'method')}\n\n{notes(headline(view))}\n"
    )
    _write_csv(table, out / "headline.csv", index=True)
    compared = difference_table(pd.read_csv(differences_csv))
    heading = title("Paired differences", simulated)
    body = (
        compared.to_markdown(index=False, disable_numparse=True) if len(compared) else "Nothing to compare."
    )
    warning = SIMULATED_NOTE + "\n\n" if simulated else ""
    write_text(out / "differences.md", f"# {heading}\n\n{warning}{body}\n")
    for task in tasks:
        chosen = view[view["task"] == task]
        text = _task_markdown(chosen, task) if len(chosen) else f"# {TASK_TITLES[task]}\n\nNot evaluated.\n"
        write_text(out / f"{task}.md", text)
        _write_csv(
            chosen[CSV_COLUMNS].rename(columns={"label": "method", "at": "labels"}), out / f"{task}.csv"
        )
