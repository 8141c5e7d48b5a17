"""Published figures beside measured cells of the same protocol family, on real data only.

A measured cell and a published figure are of the same thing when method, variant, task, data set, protocol
family, setting, fraction and metric are equal. Published figures are grey text; they never become rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prior.errors import InputError
from prior.metrics.rows import (
    PRIMARY,
    TASK_TITLES,
    UNTRAINED_TASKS,
    aggregated,
    fraction_text,
    method_labels,
    setting_text,
)
from prior.results.marks import GREY
from prior.results.published import by_cell, load_published
from prior.results.published_figure import Cell, Published
from prior.results.published_tables import source_text
from prior.results.view import metric_title, value_text

PLAIN_VARIANTS = ("", "default", "described", "timm")
NORMAL_QUANTILE = 1.959964
PUBLISHED_NOTE = (
    "Grey: what papers print for the same method, data set, protocol family, setting, share of the labels "
    "and metric; ≠: they differ."
)
COLUMNS = ["task", "setting", "labels", "metric", "method", "measured", "published", "sources", "verdict"]


def refuse_simulated(rows: pd.DataFrame) -> None:
    """Raise where a row was measured on simulated data.

    Raises:
        InputError: there is such a row.
    """
    simulated = rows[rows["simulated"].astype(bool)]
    if len(simulated):
        datasets = ", ".join(sorted(set(simulated["dataset"])))
        raise InputError(
            f"{len(simulated)} rows were measured on simulated data ({datasets}): published figures never "
            "stand beside them; give results of runs on the real data sets"
        )


def setting_of(row: pd.Series) -> str:
    """A measured row's setting as published ones are named: `zero_shot`, `finetune`, `linear` or `frozen`."""
    if row["task"] in UNTRAINED_TASKS:
        return "zero_shot"
    if not row["frozen"]:
        return "finetune"
    return "linear" if row["task"] == "classification" or row["head"] == "linear" else "frozen"


def published_of(row: pd.Series, figures: Mapping[Cell, list[Published]]) -> list[Published]:
    """Figures of the same cell as one aggregated row; empty where none is published.

    Args:
        row: of `results.csv`, measured on real data.
        figures: where to look, by cell.
    """
    if row["finding"] or row.get("subgroup"):
        return []
    variant = "" if row["variant"] in PLAIN_VARIANTS else row["variant"]
    fraction = None if pd.isna(row["fraction"]) else float(row["fraction"])
    wanted = (
        *(row["method"], variant, row["task"], row["dataset"], row["protocol"]),
        *(fraction, row["metric"], setting_of(row), ""),
    )
    return figures.get(wanted, [])


def share_text(figure: Published) -> str:
    """A figure as measured ones are written, with its ±: `0.497`, `0.149 ± 0.017`."""
    digits = len(figure.printed.partition("±")[0].partition(".")[2]) + (2 if figure.scale == 100 else 0)
    text = f"{figure.value:.{digits}f}"
    return text if figure.half_width is None else f"{text} ± {figure.half_width:.{digits}f}"


def grey_text(figures: Sequence[Published]) -> str:
    """Grey HTML (Markdown passes it on) with every figure and its source; empty for no figure."""
    if not figures:
        return ""
    mark = "≠ " if len({figure.value for figure in figures}) > 1 else ""
    return GREY.format(mark + "; ".join(f"{share_text(f)} {f.source.title}" for f in figures))


def with_published(view: pd.DataFrame, figures: Sequence[Published] | None = None) -> pd.DataFrame:
    """Add the column `published`: grey text beside each measured cell of which papers print a figure.

    Args:
        view: aggregated rows, for instance of `load_view`.
        figures: where to look; everything published if None.

    Raises:
        InputError: a row was measured on simulated data.
    """
    refuse_simulated(view)
    known = by_cell(load_published() if figures is None else figures)
    return view.assign(published=[grey_text(published_of(row, known)) for _, row in view.iterrows()])


def beside_published(view: pd.DataFrame, figures: Sequence[Published] | None = None) -> pd.DataFrame:
    """`with_published` where all rows are real; where any is simulated, no row has a published figure.

    Args:
        view: aggregated rows.
        figures: where to look; everything published if None.
    """
    if view["simulated"].astype(bool).any():
        return view.assign(published="")
    return with_published(view, figures)


@dataclass(frozen=True)
class Span:
    """What papers allow for one cell.

    Attributes:
        low: lower end.
        high: upper end.
        kind: `interval`, `± 1.96 sd`, `range` of several figures, or `one figure`.
    """

    low: float
    high: float
    kind: str


def span(figures: Sequence[Published]) -> Span:
    """From the lowest to the highest value that the figures of one cell allow.

    A figure x with a 95 % interval of half-width h allows [x − h, x + h]; one with a standard deviation s
    over runs allows [x − 1.96 s, x + 1.96 s], where 95 % of further runs are expected; one with neither
    allows what rounds to it. Several figures allow the hull of all: each was measured under this protocol.
    """
    factors = {"ci95": 1.0, "sd": NORMAL_QUANTILE, None: 0.0}
    margins = [(f.half_width or 0.0) * factors[f.spread] + f.rounding for f in figures]
    spreads = {f.spread for f in figures if f.half_width is not None}
    several = "range" if len({f.value for f in figures}) > 1 else "one figure"
    kind = "interval" if "ci95" in spreads else "± 1.96 sd" if spreads else several
    low = min(f.value - margin for f, margin in zip(figures, margins, strict=True))
    high = max(f.value + margin for f, margin in zip(figures, margins, strict=True))
    return Span(low, high, kind)


def verdict(value: float, low: float, high: float, allowed: Span) -> str:
    """`inside` or `outside` the span; `outside, intervals overlap` where the measured interval reaches it."""
    if allowed.low <= value <= allowed.high:
        return "inside"
    reaches = low <= allowed.high and high >= allowed.low
    return "outside, intervals overlap" if reaches else "outside"


def against_published(rows: pd.DataFrame, figures: Sequence[Published] | None = None) -> pd.DataFrame:
    """Every aggregated row of which papers print a figure, with the published span and the verdict.

    Args:
        rows: all rows of a `results.csv`.
        figures: where to look; everything published if None.

    Returns:
        A row per cell, leading metrics first, with the columns of `COLUMNS` as text.

    Raises:
        InputError: a row was measured on simulated data.
    """
    refuse_simulated(rows)
    known = by_cell(load_published() if figures is None else figures)
    means = aggregated(rows)
    means = means.assign(label=method_labels(means), leading=means["metric"] == means["task"].map(PRIMARY))
    found: list[dict[str, Any]] = []
    for _, row in means.sort_values("leading", ascending=False, kind="stable").iterrows():
        figures_here = published_of(row, known)
        if not figures_here or pd.isna(row["value"]):
            continue
        allowed = span(figures_here)
        found.append(
            {
                "task": TASK_TITLES[row["task"]],
                "setting": setting_text({str(key): value for key, value in row.items()}),
                "labels": fraction_text(row["fraction"]),
                "metric": metric_title(row["metric"]),
                "method": row["label"],
                "measured": value_text(row["value"], row["ci_low"], row["ci_high"]),
                "published": f"[{allowed.low:.4f}, {allowed.high:.4f}], {allowed.kind}",
                "sources": ", ".join(dict.fromkeys(map(source_text, figures_here))),
                "verdict": verdict(row["value"], row["ci_low"], row["ci_high"], allowed),
            }
        )
    return pd.DataFrame(found, columns=COLUMNS)


def published_report(rows: pd.DataFrame, figures: Sequence[Published] | None = None) -> str:
    """`against_published` as Markdown; says so where nothing measured has a published counterpart."""
    known = load_published() if figures is None else figures
    table = against_published(rows, known)
    if table.empty:
        measured = ", ".join(sorted(set(rows["protocol"])))
        published = ", ".join(dict.fromkeys(figure.family for figure in known))
        return (
            "No measured cell has a published counterpart: method, task, data set, protocol family, setting, "
            f"fraction and metric must be equal. Measured families: {measured}; published: {published}.\n"
        )
    inside = int((table["verdict"] == "inside").sum())
    return f"{inside} of {len(table)} measured cells lie inside the published span.\n\n" + str(
        table.to_markdown(index=False, disable_numparse=True)
    ) + "\n"  # fmt: skip
