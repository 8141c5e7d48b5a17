"""All score files → the long table, headline metrics, differences, ranks, run times and omitted cells."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.files import atomic_path, read_json, write_json
from prior.errors import InputError
from prior.metrics.arrays import Floats
from prior.metrics.rows import (
    AGGREGATED_COLUMNS,
    BASELINES,
    COUNT_COLUMNS,
    METHOD_COLUMNS,
    SETTING_COLUMNS,
    aggregated,
    fraction_text,
    method_labels,
    primary,
)
from prior.results.ablations import ablations
from prior.results.aggregate import fold_averaged, load_scores
from prior.results.contamination import contaminations, strongest
from prior.results.differences import differences
from prior.results.marks import marks
from prior.results.ranks import ranks

GROUP = [*METHOD_COLUMNS, *SETTING_COLUMNS, "fraction", "finding", "subgroup", "metric"]
DIGITS = 6
DECIMAL_COLUMNS = [
    *("value", "ci_low", "ci_high", "difference", "difference_low", "difference_high", "p", "p_holm"),
    *("mean_rank", "validation"),
]
PLACE, CELL = ("task", "dataset", "protocol", "setting"), ("fraction", "seed", "fold")
CELL_COLUMNS = ["method", "variant", "pretrain_seed", *PLACE, *CELL]
OMITTED_COLUMNS = [*CELL_COLUMNS, "reason"]
CHOICE_COUNTS = ["step", "head_params"]
CHOICES = ["c", "learning_rate", "at_grid_edge", "threshold", "validation", *CHOICE_COUNTS]
RUN_COLUMNS = ["run", "seconds", "commit", "hardware", "versions"]


def aggregate(rows: pd.DataFrame, replicates: Floats) -> pd.DataFrame:
    """One row per method, setting, fraction, metric and finding: mean over seeds with its 95 % interval."""
    found = []
    for _, group in rows.groupby(GROUP, dropna=False, sort=True):
        units = fold_averaged(group, replicates)
        result = units.interval()
        first: dict[Any, Any] = group.iloc[0].to_dict()
        one_seed = group[group["seed"] == first["seed"]].drop_duplicates("fold")
        counts = {name: one_seed[name].sum(min_count=1) for name in ("n_test", "n_pos")}
        same_pretraining = group["pretrain_seed"].nunique() == 1
        found.append(
            {
                **first,
                **counts,
                "pretrain_seed": first["pretrain_seed"] if same_pretraining else None,
                "n_train": group["n_train"].mean(),
                "contamination": strongest(group["contamination"]),
                **{"seed": None, "fold": None, "run": "", "value": result.mean},
                **{"ci_low": result.low, "ci_high": result.high},
            }
        )
    return pd.DataFrame(found)


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    frame = frame.copy()
    for name in frame.columns.intersection([*COUNT_COLUMNS, *CHOICE_COUNTS]):
        frame[name] = frame[name].astype("Float64").round().astype("Int64")
    decimals = frame.columns.intersection(DECIMAL_COLUMNS)
    frame[decimals] = frame[decimals].astype(float).round(DIGITS)
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def headline_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Nested means for `dvc metrics diff`: task → data set → protocol-setting → metric@fraction → method.

    Only what methods are compared by, so that a difference stays readable, with four digits: the primary cell
    of every task and data set (frozen, at 10 % where labels are used), and the accuracy on 5x200 of the same
    setting.
    """
    found: dict[str, Any] = {}
    means = aggregated(table)
    leading = primary(means)
    places = leading.set_index(SETTING_COLUMNS).index
    subset = means[means["metric"] == "accuracy_5x200"]
    subset = subset[subset.set_index(SETTING_COLUMNS).index.isin(places)]
    chosen = pd.concat([leading, subset])
    chosen = chosen[chosen["value"].notna() & ~chosen["method"].isin(BASELINES)]
    for row, label in zip(chosen.to_dict("records"), method_labels(chosen), strict=True):
        at = "" if pd.isna(row["fraction"]) else "@" + fraction_text(row["fraction"]).replace(" ", "")
        dataset = found.setdefault(row["task"], {}).setdefault(row["dataset"], {})
        setting = dataset.setdefault(f"{row['protocol']}-{row['setting']}", {})
        setting.setdefault(row["metric"] + at, {})[label] = round(row["value"], 4)
    return found


def _cells(info: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The cells of one job, each with the columns that name it."""
    bundle = {name: info["bundle"].get(name) for name in ("method", "variant", "pretrain_seed")}
    place = {name: info.get(name) for name in PLACE}
    return [({**bundle, **place, **{key: cell.get(key) for key in CELL}}, cell) for cell in info["cells"]]


def _run_row(path: Path) -> dict[str, Any]:
    """A row of `runs.csv`: an evaluation is named as in the long table, a pre-training `models/<bundle>`."""
    info = read_json(path)
    parts = [*path.parts[-4:-1], path.name.removesuffix(".run.json")]
    name = "/".join(path.parts[-3:-1]) if path.name == "run.json" else "/".join(parts)
    hardware = info.get("hardware", "")
    if not isinstance(hardware, str):
        hardware = json.dumps(hardware, sort_keys=True)
    versions = {**info.get("libraries", {}), **({"python": info["python"]} if "python" in info else {})}
    return {
        "run": name,
        "seconds": info.get("seconds"),
        "commit": info["code"]["commit"],
        "hardware": hardware,
        "versions": json.dumps(versions, sort_keys=True),
    }


def _run_files(predictions: Sequence[Path]) -> list[Path]:
    """Records that evaluations and pre-trainings left beside their outputs."""
    found = {path.with_suffix(".run.json") for path in predictions}
    found |= {path.parents[4] / "models" / path.stem / "run.json" for path in predictions}
    return sorted(path for path in found if path.exists())


def collect(
    score_files: Sequence[Path],
    prediction_files: Sequence[Path],
    out: Path,
    experiment: str = "default",
    with_ablations: bool = False,
    prepared: Path | None = None,
) -> None:
    """Write `results.csv`, `runs.csv`, `omitted.csv`, `metrics.json` and what is compared below `out`.

    Comparisons need the resamples, which only this stage reads: `tables/differences.csv`, `tables/best.csv`,
    `tables/ranks.csv` and `tables/ablations.csv`. `tables/choices.csv` has what every cell chose without a
    test image, and whether it lies at the edge of its grid.

    Args:
        score_files: `scores/<task>/<dataset>/<protocol>-<setting>/<bundle>.parquet`, each with its `.npz`.
        prediction_files: the JSON files of the same jobs below `predictions/`.
        out: folder of the results.
        experiment: name in the first column.
        with_ablations: whether a method has several variants; else there is no `ablations.csv`.
        prepared: `data/prepared`, from which `contamination` is filled (`none` for what has no encoder); None
            leaves it empty.

    Raises:
        InputError: there is nothing to collect, or predictions and records do not fit.
    """
    if not score_files:
        raise InputError("no score files; run the evaluation first (`snakemake all_scores`)")
    rows, replicates = load_scores(score_files)
    if prepared is not None:
        presets = dict(zip(rows["run"], rows["split"], strict=True))
        found = contaminations(sorted(prediction_files), prepared, presets)
        rows["contamination"] = rows["run"].map(found).fillna("none")
    table = pd.concat([aggregate(rows, replicates), rows], ignore_index=True)
    table = table.assign(experiment=experiment).reindex(columns=AGGREGATED_COLUMNS)
    order = [
        *SETTING_COLUMNS,
        "metric",
        "finding",
        "fraction",
        *METHOD_COLUMNS,
        "pretrain_seed",
        "seed",
        "fold",
    ]
    table = table.sort_values(order, na_position="first", kind="stable")
    _write_csv(table, out / "results.csv")
    compared = {"differences": differences, "best": marks, "ranks": ranks}
    compared |= {"ablations": ablations} if with_ablations else {}
    for name, compare in compared.items():
        _write_csv(compare(rows, replicates), out / "tables" / f"{name}.csv")
    cells = [found for path in sorted(prediction_files) for found in _cells(read_json(path))]
    omitted = [{**place, "reason": cell["omitted"]} for place, cell in cells if cell.get("omitted")]
    _write_csv(pd.DataFrame(omitted, columns=OMITTED_COLUMNS), out / "omitted.csv")
    chosen = [{**place, **cell["selected"]} for place, cell in cells if cell.get("selected")]
    _write_csv(pd.DataFrame(chosen, columns=[*CELL_COLUMNS, *CHOICES]), out / "tables" / "choices.csv")
    runs = [_run_row(path) for path in _run_files(prediction_files)]
    _write_csv(pd.DataFrame(runs, columns=RUN_COLUMNS).astype({"seconds": float}), out / "runs.csv")
    write_json(out / "metrics.json", headline_metrics(table.replace({np.nan: None})))
