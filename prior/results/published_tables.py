"""Published figures as Markdown: a table per task, data set, protocol family and metric; conflicts marked."""

from collections.abc import Iterable, Sequence

import pandas as pd

from prior.errors import InputError
from prior.metrics.rows import TASK_TITLES, fraction_text
from prior.results.published import conflicts, families, load_published
from prior.results.published_figure import Cell, Published
from prior.results.view import metric_title

MARK = "≠"
INTRODUCTION = f"""\
# Published figures

What papers print, as printed (percent or shares), by protocol family: figures of different families are not
comparable, and none of them was measured here. They are no rows of `results.csv`, and no table shows them
beside simulated results. Written by `prior published > docs/published.md` from
`prior/results/published.yaml`, which also says what was presumed; a test keeps this page equal.

The mark behind a source says how a figure was read: H in the paper or in its authors' repository, M
re-reported by others, L of unclear identity. `±` is a 95 % interval or a standard deviation, as the heading
says. {MARK}: another paper prints another figure for the same cell (last section)."""
TITLES = {
    **TASK_TITLES,
    "report_generation": "Report generation",
    "temporal_classification": "Temporal classification",
    "all": "All tasks",
}
METRICS = {
    "accuracy": "Accuracy",
    "cider": "CIDEr",
    "dice": "Dice, of a kind that is not stated",
    "dice_pooled_macro": "Dice, pooled pixels, mean of classes",
    "dice_positive_images": "Dice, positive images only",
    "f1": "F1",
    "f1_5x200": "F1, 5x200",
    "froc": "fROC",
    "mdice": "Dice, mean of classes",
    "mean_rank": "Mean rank",
    "meteor": "METEOR",
    "not_stated": "Metric not stated",
}
SPREADS = {"ci95": "± 95 % interval", "sd": "± standard deviation"}
WIDEST = 8


def published_metric_title(metric: str) -> str:
    """A published metric's name in words, ours or not."""
    kind = metric.replace("_class_", "_")
    return METRICS.get(metric) or metric_title(kind) + (" (of the class)" if kind != metric else "")


def select(
    figures: Sequence[Published], task: str | None = None, dataset: str | None = None
) -> list[Published]:
    """Figures of a task and a data set; None chooses all.

    Raises:
        InputError: nothing is published for them.
    """
    found = [f for f in figures if task in (None, f.task) and dataset in (None, f.dataset)]
    if not found:
        tasks = list(dict.fromkeys(f.task for f in figures))
        datasets = sorted({f.dataset for f in figures if task in (None, f.task)})
        wanted = " and ".join(f"`{name}`" for name in (task, dataset) if name)
        known = (
            f"--dataset is one of {', '.join(datasets)}"
            if datasets
            else f"--task is one of {', '.join(tasks)}"
        )
        raise InputError(f"nothing is published for {wanted}; {known}")
    return found


def _by_fraction(figure: Published) -> bool:
    """Whether tables have a column per share of the labels; report generation knows only all of them."""
    return figure.fraction is not None and figure.task != "report_generation"


def _place(figure: Published) -> tuple[str, ...]:
    """What a table is of: one data set and metric by fraction, or a family's data sets and metrics."""
    kind = "details" if figure.detail else ""
    if not _by_fraction(figure):
        return figure.family, figure.setting, kind
    return figure.dataset, figure.family, figure.setting, figure.metric, kind


def _column(figure: Published) -> str:
    if figure.fraction is not None and _by_fraction(figure):
        return " · ".join(filter(None, [fraction_text(figure.fraction), figure.detail]))
    names = [figure.dataset, published_metric_title(figure.metric), figure.detail]
    return " · ".join(name for name in names if name and name != "not_stated")


def source_text(figure: Published) -> str:
    """Paper, table, how it was read, and which keys are presumed."""
    presumed = f", presumed: {', '.join(figure.inferred)}" if figure.inferred else ""
    return f"{figure.source.title}, {figure.table} ({figure.confidence}{presumed})"


def _table(figures: Sequence[Published], disputed: set[Cell]) -> str:
    records: dict[tuple[str, str], dict[str, str]] = {}
    for figure in figures:
        source = source_text(figure)
        record = records.setdefault((figure.label, source), {"method": figure.label, "source": source})
        record[_column(figure)] = figure.printed + (f" {MARK}" if figure.cell in disputed else "")
    frame = pd.DataFrame(list(records.values())).fillna("")
    names = [name for name in frame.columns if name not in ("method", "source")]
    parts = [names[start : start + WIDEST] for start in range(0, len(names), WIDEST)]
    return "\n\n".join(_shown(frame, part) for part in parts)


def _shown(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    chosen = frame[["method", "source", *columns]]
    filled = (chosen[list(columns)] != "").any(axis=1)
    return str(chosen[filled].to_markdown(index=False, disable_numparse=True))


def _heading(figures: Sequence[Published]) -> str:
    first = figures[0]
    words = [first.family, first.setting.replace("_", " ")]
    if _by_fraction(first):
        words = [first.dataset, *words, published_metric_title(first.metric)]
    spreads = dict.fromkeys(SPREADS[f.spread] for f in figures if f.spread and "±" in f.printed)
    units = dict.fromkeys("percent" if f.scale == 100 else "shares" for f in figures if f.task != "all")
    return " · ".join([*words, *units, *spreads])


def _section(task: str, figures: Sequence[Published], disputed: set[Cell]) -> Iterable[str]:
    yield f"## {TITLES[task]}"
    groups: dict[tuple[str, ...], list[Published]] = {}
    for figure in figures:
        groups.setdefault(_place(figure), []).append(figure)
    # What a reader compares stands together: a data set with labels, then a family without.
    for _, group in sorted(groups.items(), key=lambda item: (-len(item[0]), item[0][0])):
        yield f"### {_heading(group)}"
        yield _table(group, disputed)
        notes: dict[str, list[str]] = {}
        for figure in group:
            if figure.note:
                notes.setdefault(figure.note, []).append(figure.source.title)
        lines = [f"{', '.join(dict.fromkeys(titles))}: {note}." for note, titles in notes.items()]
        yield from ["\n".join(lines)] if lines else []


def conflict_table(groups: Sequence[Sequence[Published]]) -> str:
    """One row per cell for which papers print different figures, each figure with its source."""
    records = []
    for group in groups:
        first = group[0]
        words = [first.dataset, first.family, first.setting, published_metric_title(first.metric)]
        words += [fraction_text(first.fraction)] if first.fraction is not None else []
        figures = ", ".join(f"{f.printed} ({f.source.title})" for f in group)
        records.append(
            {"task": TITLES[first.task], "cell": " · ".join(words), "method": first.label, "figures": figures}
        )
    return str(pd.DataFrame(records).to_markdown(index=False, disable_numparse=True))


def published_markdown(task: str | None = None, dataset: str | None = None) -> str:
    """All published figures of a task and data set (None: all) as one Markdown document.

    Raises:
        InputError: nothing is published for them.
    """
    everything = load_published()
    chosen = select(everything, task, dataset)
    found = [group for group in conflicts(everything) if group[0] in chosen]
    disputed = {group[0].cell for group in found}
    used = {figure.family for figure in chosen}
    lines = [INTRODUCTION, "| family | protocol |\n|:--|:--|"]
    lines[-1] += "".join(f"\n| {name} | {text} |" for name, text in families().items() if name in used)
    for name in TITLES:
        here = [figure for figure in chosen if figure.task == name]
        lines += _section(name, here, disputed) if here else []
    if found:
        lines += ["## Different figures for one cell", conflict_table(found)]
    return "\n\n".join(lines) + "\n"
