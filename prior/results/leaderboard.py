"""What the page's leaderboard and its dialogs show, as one compact JSON: rows, their cells and their runs."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.metrics.rows import (
    METHOD_COLUMNS,
    SETTING_COLUMNS,
    TASK_TITLES,
    TEXT_COLUMNS,
    fraction_text,
    read_rows,
    setting_text,
)
from prior.results.contamination import sign
from prior.results.marks import read_cell, smaller_is_better

TEXTS = [
    *("method", "task", "data set", "metric", "labels", "protocol", "setting", "endpoint", "mark"),
    "contamination",
]
NUMBERS = ["value", "ci_low", "ci_high", "n_seeds", "n_pretrain_seeds"]
CELL_NUMBERS = ["pretrain_seed", "seed", "fold", "value", "n_train", "n_test", "n_pos"]
DIFFERENCE_NUMBERS = ["difference", "ci_low", "ci_high", "p", "p_holm"]
KEY = [*SETTING_COLUMNS, "metric", *METHOD_COLUMNS]
Groups = dict[Any, list[list[Any]]]


def leaderboard_rows(view: pd.DataFrame) -> pd.DataFrame:
    """Add `row`, a macro row's place in the leaderboard as text; other rows have none."""
    shown = (view["finding"] == "") & (view["metric"] != "n_unfit")
    return view.assign(row=(shown.cumsum() - 1).astype(str).where(shown, ""))


def _numbers(frame: pd.DataFrame, names: Iterable[str]) -> list[list[float | int | None]]:
    """Rows of numbers; whole ones without a point, missing ones as None."""
    columns = frame[list(names)].astype(float).to_numpy()
    return [[None if np.isnan(x) else int(x) if x == round(x) else float(x) for x in row] for row in columns]


def _grouped(frame: pd.DataFrame, numbers: list[str], names: list[str], column: str) -> Groups:
    """Setting, metric, method and share of the labels (−1 for none) → rows of numbers and a place.

    Args:
        frame: cells or differences.
        numbers: columns to keep.
        names: distinct values of `column`; its place among them ends each row.
        column: a text.
    """
    places = frame[column].map({name: place for place, name in enumerate(names)})
    lines = [[*row, place] for row, place in zip(_numbers(frame, numbers), places, strict=True)]
    groups = frame.assign(_at=frame["fraction"].fillna(-1.0)).groupby([*KEY, "_at"]).indices
    return {key: [lines[place] for place in where] for key, where in groups.items()}


def _run_facts(names: list[str], results: Path) -> list[dict[str, Any]]:
    """What is known of each run and of the pre-training behind it, and which of its cells were refused."""
    table = pd.read_csv(results / "runs.csv").set_index("run")
    refused = _refused(pd.read_csv(results / "omitted.csv"))
    found = []
    for name in names:
        bundle = name.rpartition("/")[2]
        parts = {
            kind: {
                "seconds": row["seconds"] if pd.notna(row["seconds"]) else None,
                "commit": str(row["commit"])[:10],
                "machine": machine_text(str(row["hardware"])),
            }
            for kind, key in (("evaluation", name), ("pre-training", f"models/{bundle}"))
            if key in table.index
            for row in [table.loc[key]]
        }
        found.append({"run": name, "parts": parts, "refused": refused.get(name, [])})
    return found


def _refused(omitted: pd.DataFrame) -> dict[str, list[str]]:
    """Run → its refused cells in words, those with one reason together."""
    found: dict[str, list[str]] = {}
    if omitted.empty:
        return found
    places = ["task", "dataset", "protocol", "setting", "method", "variant", "pretrain_seed", "fraction"]
    key: Any
    for key, rows in omitted.groupby([*places, "reason"], dropna=False):
        task, dataset, protocol, setting, method, variant, pretraining, fraction, reason = key
        run = f"{task}/{dataset}/{protocol}-{setting}/{method}-{variant}-s{pretraining:.0f}"
        seeds = ", ".join(f"{seed:.0f}" for seed in sorted(rows["seed"].dropna().unique()))
        found.setdefault(run, []).append(f"{fraction_text(fraction)} of the labels, seeds {seeds}: {reason}")
    return found


def machine_text(hardware: str) -> str:
    """A machine in words, from a run's record (JSON, or any text)."""
    try:
        facts = json.loads(hardware)
    except json.JSONDecodeError:
        return hardware
    cores = f"{facts['cores']} cores" if facts.get("cores") else ""
    return ", ".join(str(part) for part in (facts.get("gpu"), facts.get("cpu"), cores) if part)


def payload(view: pd.DataFrame, results: Path) -> dict[str, Any]:
    """All that the leaderboard needs.

    Args:
        view: rows with `row`, of `leaderboard_rows`.
        results: folder that `collect` wrote.

    Returns:
        `texts` (column → its distinct texts), `smaller_is_better` (metrics), `references`, `runs`,
        `signs` (what pre-training saw → its sign), `published` (row → figures) of the rows that have any, and
        `rows`: of each the places of its texts, its numbers, its differences (numbers, then the place of the
        reference) and its cells (numbers, then the place of the run).
    """
    shown = view[view["row"] != ""]
    plain = [{**place, "dataset": "", "protocol": ""} for place in shown.to_dict("records")]
    shown = shown.drop(columns=["metric"]).assign(
        key_metric=shown["metric"],
        metric=shown["metric_title"],
        labels=shown["at"],
        setting_text=[setting_text({str(k): v for k, v in row.items()}) or "no training" for row in plain],
    )
    words = shown.assign(
        **{
            "method": shown["label"],
            "task": shown["task"].map(TASK_TITLES),
            "data set": shown["dataset"],
            "setting": shown["setting_text"],
            "endpoint": shown["role"],
        }
    )
    coded = {name: pd.factorize(words[name]) for name in TEXTS}
    codes = (
        np.stack([code for code, _ in coded.values()], axis=1)
        if len(shown)
        else np.zeros((0, len(TEXTS)), int)
    )
    smaller = shown["key_metric"].map(smaller_is_better)
    rows = read_rows(results / "results.csv")
    cells = rows[rows["seed"].notna() & (rows["finding"] == "")]
    runs, compared = list(dict.fromkeys(cells["run"])), _differences(results)
    references = sorted(set(compared["reference"]))
    of_cells = _grouped(cells, CELL_NUMBERS, runs, "run")
    of_differences = _grouped(compared, DIFFERENCE_NUMBERS, references, "reference")
    found = []
    for code, numbers, row in zip(
        codes.tolist(), _numbers(shown, NUMBERS), shown.to_dict("records"), strict=True
    ):
        place = [row[name] for name in SETTING_COLUMNS], [row[name] for name in METHOD_COLUMNS]
        key = (*place[0], row["key_metric"], *place[1])
        share = -1.0 if pd.isna(row["fraction"]) else row["fraction"]
        # Baselines use no labels, and stand at every share with the same cells.
        members = of_cells.get((*key, share)) or of_cells.get((*key, -1.0), [])
        found.append([code, numbers, of_differences.get((*key, share), []), members])
    return {
        "texts": {name: [str(text) for text in texts] for name, (_, texts) in coded.items()},
        "smaller_is_better": sorted(set(shown.loc[smaller, "metric"])),
        "references": references,
        "runs": _run_facts(runs, results),
        "signs": {text: sign(text) for text in dict.fromkeys(shown["contamination"]) if sign(text)},
        "published": {
            k: read_cell(f"<br>{text}").published for k, text in enumerate(shown["published"]) if text
        },
        "rows": found,
    }


def _differences(results: Path) -> pd.DataFrame:
    frame = pd.read_csv(results / "tables" / "differences.csv", dtype=dict.fromkeys(TEXT_COLUMNS, str))
    text = [name for name in KEY if name in TEXT_COLUMNS]
    return frame.assign(**{name: frame[name].fillna("") for name in text})
