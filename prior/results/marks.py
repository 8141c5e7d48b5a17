"""The best value of a comparison, and those that are not significantly worse: found, and marked in text."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prior.metrics.arrays import Floats
from prior.metrics.intervals import holm
from prior.metrics.rows import DIAGNOSTIC_TASKS, METHOD_COLUMNS, SETTING_COLUMNS, WITHOUT_ENCODER
from prior.results.aggregate import paired_difference
from prior.results.contamination import CONTAMINATION_NOTES
from prior.results.differences import units_by_method

BEST, NOT_WORSE = "best", "not worse"
LEVEL = 0.05
PLACE = [*SETTING_COLUMNS, "fraction", "metric"]
COLUMNS = [
    *(*PLACE, *METHOD_COLUMNS, "mark", "difference", "ci_low", "ci_high", "p", "p_holm"),
    *("n_methods", "simulated"),
]
MARK_NOTE = (
    "Bold: the best encoder of a setting, metric and share of the labels. †: not significantly worse than it "
    "(paired difference over patients and seeds, Holm's rule over the other encoders, 5 %)."
)

# HTML that Markdown passes on.
GREY = '<span class="published" style="color: #767676">{}</span>'
PUBLISHED = re.compile(GREY.replace("{}", "(.*)"))


def smaller_is_better(metric: str) -> bool:
    """Whether a metric counts errors or ranks."""
    return metric == "brier" or metric.startswith("median_rank")


def marks(rows: pd.DataFrame, replicates: Floats) -> pd.DataFrame:
    """Every encoder's paired difference to the best one of its setting, share of the labels and macro metric.

    Args:
        rows: cell rows; the index points into `replicates`.
        replicates: [rows, B].

    Returns:
        A row per encoder where there are two or more; `difference` (method − best) is missing for the best.
    """
    left_out = rows["task"].isin(DIAGNOSTIC_TASKS) | rows["method"].isin(WITHOUT_ENCODER)
    chosen = rows[~left_out & (rows["finding"] == "") & (rows["metric"] != "n_unfit")]
    found: list[dict[str, Any]] = []
    for place, group in chosen.groupby(PLACE, dropna=False):
        units = units_by_method(group, replicates)
        sign = -1 if smaller_is_better(str(place[-1])) else 1
        means = {key: sign * unit.interval().mean for key, unit in units.items()}
        means = {key: mean for key, mean in means.items() if not pd.isna(mean)}
        if len(means) < 2:
            continue
        top = max(means, key=lambda key: means[key])
        changes = {key: paired_difference(units[key], units[top]) for key in means if key != top}
        adjusted = dict(zip(changes, holm([change.p for change in changes.values()]), strict=True))
        shared = dict(zip(PLACE, place, strict=True)) | {"n_methods": len(means)}
        shared["simulated"] = bool(group["simulated"].any())
        for key in means:
            row = {**shared, **dict(zip(METHOD_COLUMNS, key, strict=True)), "mark": BEST}
            if key != top:
                change = changes[key]
                row |= {"mark": "" if adjusted[key] < LEVEL else NOT_WORSE, "difference": change.mean}
                row |= {"ci_low": change.low, "ci_high": change.high}
                row |= {"p": change.p, "p_holm": adjusted[key]}
            found.append(row)
    return pd.DataFrame(found, columns=COLUMNS)


def marked(text: str, mark: str) -> str:
    """`**text**` for the best value, `text †` for one that is not significantly worse."""
    return {BEST: f"**{text}**", NOT_WORSE: f"{text} †"}.get(mark, text)


def cell_text(value: str, mark: str, sign: str = "", published: str = "") -> str:
    """A cell of a table: the value with its mark, the sign of what pre-training saw, published figures below.

    Args:
        value: number and interval.
        mark: `best`, `not worse` or nothing.
        sign: of CONTAMINATION_NOTES, or nothing.
        published: figures with their sources in GREY, or nothing.
    """
    first = " ".join(filter(None, [marked(value, mark), sign]))
    return "<br>".join(filter(None, [first, published]))


def unmarked(text: str) -> tuple[str, str]:
    """Text without its mark, and the mark: the reverse of `marked`."""
    if text.startswith("**") and text.endswith("**") and len(text) > 4:
        return text[2:-2], BEST
    return (text.removesuffix(" †"), NOT_WORSE) if text.endswith(" †") else (text, "")


@dataclass(frozen=True)
class CellText:
    """The parts of a cell.

    Attributes:
        value: number and interval, or any text.
        mark: `best`, `not worse` or nothing.
        sign: of CONTAMINATION_NOTES, or nothing.
        lines: what stands below.
        published: published figures with their sources, or nothing.
    """

    value: str
    mark: str
    sign: str
    lines: tuple[str, ...]
    published: str


def read_cell(text: str) -> CellText:
    """Take a cell apart: the reverse of `cell_text`, whose lines may be others than published figures."""
    first, *lines = text.split("<br>")
    sign = next((sign for sign in CONTAMINATION_NOTES if first.endswith(f" {sign}")), "")
    value, mark = unmarked(first.removesuffix(f" {sign}") if sign else first)
    found = [match[1] for line in lines if (match := PUBLISHED.fullmatch(line))]
    others = tuple(line for line in lines if not PUBLISHED.fullmatch(line))
    return CellText(value, mark, sign, others, "; ".join(found))
