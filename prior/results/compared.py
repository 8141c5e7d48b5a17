"""Comparisons as readers see them: differences, mean ranks, ablations and subgroups, as tables of text."""

from typing import Any

import pandas as pd

from prior.metrics.rows import (
    PRIMARY,
    SETTING_COLUMNS,
    TASK_TITLES,
    fraction_text,
    method_labels,
    setting_text,
)
from prior.results.differences import CORRECTED, REFERENCES
from prior.results.view import metric_title, value_text

Records = list[dict[str, Any]]


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of a comparison with `label`, the method in words."""
    text = ["variant", "pretraining_data", *frame.columns.intersection(["head", "split", "reference"])]
    frame = frame.assign(**{name: frame[name].astype(object).fillna("").astype(str) for name in text})
    return frame.assign(label=method_labels(frame))


def _p_text(p: float) -> str:
    if pd.isna(p):
        return ""
    return "< .001" if p < 0.001 else f"{p:.3f}"


def difference_tables(differences: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Setting in words → differences of its leading metric: methods as rows, a column per reference."""
    chosen = labelled(differences[differences["metric"] == differences["task"].map(PRIMARY)])
    found: dict[str, Records] = {}
    records: Records = [{str(k): v for k, v in row.items()} for row in chosen.to_dict("records")]
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in records:
        parts = [TASK_TITLES[row["task"]], setting_text(row), metric_title(row["metric"])]
        key, at = " · ".join(parts), fraction_text(row["fraction"])
        at += " (primary)" if row["role"] == "primary" and pd.notna(row["fraction"]) else ""
        if (key, at, row["label"]) not in lines:
            lines[key, at, row["label"]] = {"labels": at, "method": row["label"]}
            found.setdefault(key, []).append(lines[key, at, row["label"]])
        line, name = lines[key, at, row["label"]], row["reference"]
        line[f"− {name}"] = value_text(row["difference"], row["ci_low"], row["ci_high"])
        line[f"p {name}"] = _p_text(row["p"])
        if name == CORRECTED:
            line[f"p {name} (Holm)"] = _p_text(row["p_holm"])
    order = [
        f"{kind}{name}{end}"
        for name in REFERENCES
        for kind, end in (("− ", ""), ("p ", ""), ("p ", " (Holm)"))
    ]
    return {key: _ordered(rows, ["labels", "method", *order]) for key, rows in found.items()}


def _ordered(rows: Records, columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    return frame[[name for name in columns if name in frame]].fillna("")


def rank_tables(ranks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Block, with its tasks, → mean rank of each method, best first."""
    found = {}
    for block, rows in labelled(ranks).groupby("block"):
        ranked = str(rows["tasks"].iloc[0]).split()
        names = ", ".join(TASK_TITLES[task].lower() for task in PRIMARY if task in ranked)
        cells = [
            f"{row.mean_rank:.1f} [{row.ci_low:.1f}, {row.ci_high:.1f}]"
            for row in rows.itertuples(index=False)
        ]
        heading = f"mean rank of {rows['n_methods'].iloc[0]}"
        found[f"{block}: {names}"] = pd.DataFrame({"method": rows["label"].to_list(), heading: cells})
    return found


def ablation_tables(ablations: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Method → its variants as rows, the tasks' primary metrics as columns, `value<br>Δ difference`."""
    ablations = ablations.assign(pretraining_data=ablations["pretraining_data"].fillna(""))
    several = ablations.groupby("method")["pretraining_data"].transform("nunique") > 1
    names = ablations["method"] + (" on " + ablations["pretraining_data"]).where(several, "")
    columns = ablations["task"].map(TASK_TITLES) + " · " + ablations["metric"].map(metric_title)
    order = {task: place for place, task in enumerate(PRIMARY)}
    cells = [_ablation_cell(row) for row in ablations.to_dict("records")]
    frame = ablations.assign(
        name=names,
        column=columns + " · " + ablations["dataset"],
        cell=cells,
        _task=ablations["task"].map(order),
    )
    found = {}
    for name, rows in frame.groupby("name"):
        wide = rows.pivot_table(index="variant", columns="column", values="cell", aggfunc="first", sort=False)
        wide = wide.reindex(columns=list(dict.fromkeys(rows.sort_values("_task", kind="stable")["column"])))
        found[str(name)] = wide.fillna("").rename_axis(columns=None).reset_index()
    return found


def _ablation_cell(row: dict[Any, Any]) -> str:
    text = value_text(row["value"], row["ci_low"], row["ci_high"])
    if pd.isna(row["difference"]):
        return text
    return f"{text}<br>Δ {value_text(row['difference'], row['difference_low'], row['difference_high'])}"


def subgroup_tables(subgroups: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """(Task, setting, metric and attribute in words) → methods as rows, groups as columns, then the gap.

    Args:
        subgroups: rows of `subgroups.csv`.

    Returns:
        Task and title → text; `method` is the first column, and the last one names the groups of the gap.
    """
    chosen = labelled(subgroups)
    chosen = chosen.assign(against=chosen["against"].astype(object).fillna(""))
    order = {task: place for place, task in enumerate(PRIMARY)}
    chosen = chosen.assign(_task=chosen["task"].map(order), _random=chosen["method"] != "random")
    chosen = chosen.sort_values(["_task", "dataset", "_random", "label"], kind="stable")
    found: dict[tuple[str, str], pd.DataFrame] = {}
    for _, rows in chosen.groupby([*SETTING_COLUMNS, "attribute"], sort=False):
        first = {str(key): value for key, value in rows.iloc[0].items()}
        parts = [TASK_TITLES[first["task"]], setting_text(first), metric_title(first["metric"])]
        lines: dict[str, dict[str, str]] = {}
        for row in rows.to_dict("records"):
            text = value_text(row["value"], row["ci_low"], row["ci_high"])
            line = lines.setdefault(row["label"], {"method": row["label"]})
            if row["against"]:
                line["largest gap"] = f"{text}<br>{row['group']} − {row['against']}"
            else:
                line[f"{row['group']} · {row['n_test']:.0f} images"] = text
        wide = pd.DataFrame(list(lines.values())).fillna("")
        columns = [name for name in wide if name not in ("method", "largest gap")]
        title = " · ".join([*parts, f"by {first['attribute']}"])
        found[first["task"], title] = wide[["method", *columns, "largest gap"]]
    return found
