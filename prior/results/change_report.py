"""The command `prior compare`: which sides are meant, and their comparison as Markdown or JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from prior.errors import InputError
from prior.metrics.rows import TASK_TITLES, fraction_text, method_labels, setting_text
from prior.results.beside import against_published, published_report
from prior.results.changes import ABSENT, KEY, ROLES, Changes, changes, counts
from prior.results.revisions import WORKING, Side, read_side
from prior.results.view import SIMULATED, metric_title

LONGEST = 40
"""Rows of a table that a reader of a pull request still looks through."""
FEW = 10
"""Changed parameters that need not be folded."""
NOISE_NOTE = (
    "Noise: √(h₁² + h₂²) of the half-widths of both 95 % intervals. Both sides mostly share patients and "
    "seeds, so this errs on the wide side: what is beyond it changed; what is within it may have."
)
OTHER_DATA = (
    "**The two sides were measured on other data**: {}. Differences below are between data as much as "
    "between revisions, and those beyond the noise may come from the data alone."
)
ORDER = {"beyond": 0, "unknown": 1, "within": 2}
VERDICTS = {
    "beyond": "**beyond**",
    "within": "within",
    "unknown": "no interval",
    "interval only": "interval only",
}


def _number(value: float, sign: str = "") -> str:
    return "–" if pd.isna(value) else f"{value:{sign}.{3 if abs(value) < 10 else 1}f}"


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _described(cells: pd.DataFrame) -> pd.DataFrame:
    records = [{str(key): value for key, value in row.items()} for row in cells.to_dict("records")]
    findings = cells["finding"].where(cells["finding"] == "", " · " + cells["finding"])
    return pd.DataFrame(
        {
            "task": [f"{TASK_TITLES.get(row['task'], row['task'])}, {setting_text(row)}" for row in records],
            "metric": cells["metric"].map(metric_title).to_numpy() + findings.to_numpy(),
            "labels": cells["fraction"].map(fraction_text).to_numpy(),
            "method": method_labels(cells).to_numpy(),
        }
    )


def _table(cells: pd.DataFrame, old: str, new: str) -> str:
    """Cells with old and new value, change, noise and verdict as a Markdown table."""
    table = _described(cells)
    for name in ("old", "new"):
        table[name] = [_number(value) for value in cells[name]]
    table["change"] = [_number(value, "+") for value in cells["change"]]
    table["noise"] = ["–" if pd.isna(value) else f"±{_number(value)}" for value in cells["noise"]]
    ends = cells["other_test_set"].map({True: ", other test set", False: ""})
    table["verdict"] = (cells["verdict"].map(VERDICTS) + ends).to_numpy()
    headers = [*table.columns[:4], old, new, "change", "noise", "beyond the noise"]
    return str(table.to_markdown(index=False, disable_numparse=True, headers=headers))


def _counted(name: str, count: dict[str, int]) -> str:
    unknown = f", {count['unknown']} without interval" if count["unknown"] else ""
    only = f" ({count['interval only']} more in their interval only)" if count["interval only"] else ""
    changed = f"{count['changed']} of {count['cells']} changed, {count['beyond']} beyond the noise"
    return f"{name}: {changed}{unknown}{only}"


def _details(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _secondary(cells: pd.DataFrame, role: str, old: str, new: str) -> list[str]:
    """A folded table of the changed cells of a role, those beyond the noise first."""
    chosen = cells[(cells["role"] == role) & cells["verdict"].isin(list(ORDER))]
    if role == "by finding":
        chosen = chosen[chosen["verdict"] == "beyond"]
    if chosen.empty:
        return []
    order = chosen["verdict"].map(ORDER).sort_values(kind="stable").index
    shown = chosen.loc[order].head(LONGEST)
    more = (
        f"\n\n… and {len(chosen) - len(shown)} more (`--json` has all)." if len(chosen) > len(shown) else ""
    )
    kind = "beyond the noise" if role == "by finding" else "changed"
    title = f"{role.capitalize()}: {_several(len(chosen), 'cell')} {kind}"
    return [_details(title, _table(shown, old, new) + more)]


def _groups(rows: pd.DataFrame) -> list[str]:
    """One line per method and evaluation, with the number of rows."""
    described = _described(rows)
    found = Counter(zip(described["task"], described["method"], strict=True))
    return [f"- {method}: {task} ({_several(count, 'row')})" for (task, method), count in found.items()]


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = [f"- … and {len(lines) - LONGEST} more"] if len(lines) > LONGEST else []
    return ["\n".join([f"{title}:\n", *lines[:LONGEST], *more])]


def _parameters(parameters: dict[str, tuple[Any, Any]] | None, old: str, new: str) -> list[str]:
    if parameters is None:
        return ["Parameters: not at hand on both sides."]
    if not parameters:
        return []
    rows = [
        [f"`{key}`", *(value if value == ABSENT else json.dumps(value, default=str) for value in values)]
        for key, values in parameters.items()
    ]
    frame = pd.DataFrame(rows, columns=["parameter", "old", "new"])
    text = str(frame.to_markdown(index=False, disable_numparse=True, headers=["parameter", old, new]))
    title = f"{_several(len(rows), 'parameter')} changed"
    return [f"{title}:", text] if len(rows) <= FEW else [_details(title, text)]


def _titles(old: str, new: str) -> tuple[str, str]:
    return (old, new) if old != new else (f"{old} (old)", f"{new} (new)")


def markdown(found: Changes, old: Side, new: Side) -> str:
    """The comparison for a pull request: few lines where little changed."""
    before, after = _titles(old.name, new.name)
    mark = f"{SIMULATED} · " if found.simulated else ""
    experiment = ", ".join(sorted(set(new.rows["experiment"])))
    lines = [f"## {mark}{experiment}: `{before}` → `{after}`"]
    lines += [OTHER_DATA.format("; ".join(found.other_data))] if found.other_data else []
    cells = found.cells
    changed = cells["verdict"] != "equal"
    if changed.any():
        by_role = counts(cells)
        lines.append(". ".join(_counted(role.capitalize(), by_role[role]) for role in ROLES) + ".")
        leading = cells[(cells["role"] == "primary") & changed & (cells["verdict"] != "interval only")]
        lines += [_table(leading, before, after)] if len(leading) else []
        for role in ROLES[1:]:
            lines += _secondary(cells, role, before, after)
        lines.append(NOISE_NOTE)
    else:
        lines.append(f"All {len(cells)} aggregated rows of both sides are equal.")
    lines += _listed(_several(len(found.appeared), "new row"), _groups(found.appeared))
    lines += _listed(_several(len(found.disappeared), "row") + " gone", _groups(found.disappeared))
    lines += _parameters(found.parameters, before, after)
    return "\n\n".join(lines)


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Records with None instead of NaN and without pandas' types."""
    return list(json.loads(frame.to_json(orient="records", double_precision=6)))


def as_json(found: Changes, old: Side, new: Side) -> str:
    """The whole comparison: counts, every cell that is not equal, rows that came and went, parameters."""
    changed = found.cells[found.cells["verdict"] != "equal"]
    columns = [*KEY, "role", "old", "new", "change", "noise", "verdict", "other_test_set"]
    content = {
        "old": old.name,
        "new": new.name,
        "experiment": sorted(set(new.rows["experiment"])),
        "simulated": found.simulated,
        "other_data": found.other_data,
        "counts": counts(found.cells),
        "cells": _plain(changed[columns]),
        "appeared": _plain(found.appeared),
        "disappeared": _plain(found.disappeared),
        "parameters": None
        if found.parameters is None
        else {key: {"old": a, "new": b} for key, (a, b) in found.parameters.items()},
    }
    return json.dumps(content, indent=1, default=str)


def sides(given: Iterable[str | None], against: str | None) -> tuple[str, str]:
    """Names of the old and the new side from the arguments of the command.

    Raises:
        InputError: too few or too many are given.
    """
    names = [name for name in given if name]
    if against is not None:
        if len(names) > 1:
            raise InputError("--against takes one side at most; give two sides without --against")
        return against, names[0] if names else WORKING
    if len(names) != 2:
        raise InputError(
            "give two sides (revisions, results.csv or folders), or one revision with --against, "
            "or --published"
        )
    return names[0], names[1]


def compare(given: Sequence[str | None], against: str | None, published: bool, json_wanted: bool) -> str:
    """Text that `prior compare` prints.

    Args:
        given: up to two sides: revisions of Git, `results.csv` files or folders that hold one.
        against: the old side; the new one is then what is given, or the working results.
        published: compare one side with what papers print instead.
        json_wanted: JSON instead of Markdown.

    Raises:
        InputError: the sides do not exist, cannot be used, or are not comparable.
    """
    if published:
        names = [name for name in given if name]
        if len(names) > 1 or against is not None:
            raise InputError("--published compares one side with what papers print; give one at most")
        rows = read_side(names[0] if names else WORKING).rows
        if json_wanted:
            return json.dumps(_plain(against_published(rows)), indent=1)
        return published_report(rows).rstrip("\n")
    first, second = sides(given, against)
    old, new = read_side(first), read_side(second)
    found = changes(old, new)
    return as_json(found, old, new) if json_wanted else markdown(found, old, new)
