"""Primary metrics by sex, age, view and site, and the largest gaps: from predictions and records."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.files import atomic_path, read_json
from prior.metrics.arrays import Floats
from prior.metrics.classification import SUBSET
from prior.metrics.intervals import patient_resamples
from prior.metrics.rows import (
    DIAGNOSTIC_TASKS,
    METHOD_COLUMNS,
    PRIMARY,
    PRIMARY_FRACTION,
    SETTING_COLUMNS,
    WITHOUT_ENCODER,
)
from prior.metrics.score import Scorer, cell_metrics, evaluate_metrics
from prior.results.aggregate import fold_averaged, paired_difference

ATTRIBUTES = ("sex", "age", "view", "site")
AGES = {"under 40": 40.0, "40–59": 60.0, "60–79": 80.0, "80 and over": np.inf}
"""Age group → the age in years below which it ends."""
FEWEST_IMAGES = 50
FEWEST_OF_A_LABEL = 10
RESAMPLES = 500
"""At most; a standard deviation is then known to some 3 %, and gaps are exploratory."""
PLACE = [*SETTING_COLUMNS, "fraction", "metric", "attribute"]
COLUMNS = [
    *(*PLACE, *METHOD_COLUMNS, "group", "against", "value", "ci_low", "ci_high", "p"),
    *("n_test", "n_pos", "n_findings", "n_seeds", "simulated"),
]
COUNT_COLUMNS = ["n_test", "n_pos", "n_findings", "n_seeds"]
DECIMAL_COLUMNS = ["value", "ci_low", "ci_high", "p"]
DIGITS = 6
Row = dict[str, Any]


def image_groups(images: pd.DataFrame) -> pd.DataFrame:
    """Group of every image by each attribute, missing where it is not recorded.

    Args:
        images: records: `image_id`, and `sex`, `age` in years, `view`, `site`.

    Returns:
        ATTRIBUTES as columns, images as index.
    """
    age = pd.cut(images["age"].astype(float), [-np.inf, *AGES.values()], right=False, labels=list(AGES))
    found = images[list(ATTRIBUTES)].assign(age=age.astype(object)).astype(object)
    return found.set_axis(images["image_id"].astype(str))


def comparable(frame: pd.DataFrame, group: pd.Series) -> dict[str, pd.DataFrame]:
    """Split one cell's predictions by group, as far as the groups can be compared.

    A group needs FEWEST_IMAGES images. Macro metrics are compared over the same findings: those of which
    every group has FEWEST_OF_A_LABEL images with each label.

    Args:
        frame: predictions; with `finding` and `label` where the task has them.
        group: of each row, missing where it is not recorded.

    Returns:
        Group → its rows; empty if fewer than two groups, or no finding, are left.
    """
    sizes = frame["image_id"].groupby(group).nunique()
    names = sorted(sizes.index[sizes >= FEWEST_IMAGES], key=lambda name: ([*AGES, name].index(name), name))
    if "finding" in frame:
        frame = frame[frame["finding"].isin(_shared_findings(frame, group, names))]
    if len(names) < 2 or frame.empty:
        return {}
    return {name: frame[group[frame.index] == name] for name in names}


def _shared_findings(frame: pd.DataFrame, group: pd.Series, names: Sequence[str]) -> set[str]:
    found = set(frame["finding"])
    for name in names:
        own = frame[group == name]
        for rows in [own[own["label"] == value] for value in (0, 1)] if "label" in frame else [own]:
            counts = rows["finding"].value_counts()
            found &= set(counts.index[counts >= FEWEST_OF_A_LABEL])
    return found


def group_values(
    task: str, frame: pd.DataFrame, group: pd.Series, n_resamples: int, source: str
) -> Iterator[tuple[Row, Floats]]:
    """The primary metric of each group in one cell, all on the same patient resamples.

    Args:
        task: downstream task.
        frame: predictions of the cell.
        group: of each row of `frame`.
        n_resamples: number of resamples B.
        source: names data set and split, from which the draws follow.

    Yields:
        A row (`group`, `value`, counts, `resamples`) and its replicates [B].
    """
    split = comparable(frame, group)
    parts = {name: cell_metrics(task, rows)[0] for name, rows in split.items()}
    parts = {name: part for name, part in parts.items() if part.n_pos[""] >= FEWEST_OF_A_LABEL}
    if len(parts) < 2:
        return
    patients = np.concatenate([part.patients for part in parts.values()])
    positive = np.concatenate([part.positive for part in parts.values()])
    draws = patient_resamples(patients, positive, n_resamples, source)
    edges = np.cumsum([0, *(len(part.patients) for part in parts.values())])
    for (name, part), (low, high) in zip(parts.items(), pairwise(edges), strict=True):
        own = replace(draws, patient=draws.patient[low:high])
        values = evaluate_metrics(part, part.compute, own)[PRIMARY[task], ""]
        counts = {"n_test": part.n_test[""], "n_pos": part.n_pos[""]}
        counts["n_findings"] = split[name]["finding"].nunique() if "finding" in frame else 0
        yield {"group": name, "value": float(values[0]), "resamples": draws.key, **counts}, values[1:]


def job_values(stem: Path, groups: pd.DataFrame, n_resamples: int) -> Iterator[tuple[Row, Floats]]:
    """Rows and replicates of one evaluation's primary cells: frozen, at 10 % of the labels or without any.

    Args:
        stem: prediction file without suffix.
        groups: of the data set's images, from `image_groups`.
        n_resamples: number of resamples B.
    """
    scorer = Scorer(read_json(Path(f"{stem}.json")), stem, n_resamples, 0)
    shared = scorer.shared
    task = shared["task"]
    if not shared["frozen"] or shared["method"] in WITHOUT_ENCODER or task in DIAGNOSTIC_TASKS:
        return
    frame = pd.read_parquet(f"{stem}.parquet")
    frame = frame[frame["fraction"].isna() | (frame["fraction"] == PRIMARY_FRACTION)]
    if task == "zero_shot" and len(frame):  # without a row, every cell was refused and nothing has a finding
        frame = frame[~frame["finding"].str.startswith(SUBSET)]
    for (seed, fold), cell in frame.groupby(["seed", "fold"]):
        place = {"seed": seed, "fold": fold, "fraction": cell["fraction"].iloc[0], "metric": PRIMARY[task]}
        for attribute in ATTRIBUTES:
            group = cell["image_id"].astype(str).map(groups[attribute])
            source = f"{scorer.source}|{attribute}"
            for row, replicates in group_values(task, cell, group, n_resamples, source):
                yield {**shared, **place, "attribute": attribute, **row}, replicates


def summarise(rows: pd.DataFrame, replicates: Floats) -> pd.DataFrame:
    """Mean of every group over seeds with its interval, and the largest gap inside each attribute.

    The two groups are the best and the worst on the test set itself, so that the interval of their paired
    difference is too narrow where an attribute has more than two.

    Args:
        rows: of `job_values`; the index points into `replicates`.
        replicates: [rows, B].

    Returns:
        COLUMNS; `against` is empty but for gaps, whose `value` is that of `group` minus that of `against`.
    """
    found: list[Row] = []
    for key, part in rows.groupby([*PLACE, *METHOD_COLUMNS], dropna=False, sort=False):
        cells = part["group"].value_counts()
        names = [name for name in part["group"].unique() if cells[name] == cells.max()]
        if len(names) < 2:
            continue
        units = {name: fold_averaged(part[part["group"] == name], replicates) for name in names}
        means = {name: unit.interval() for name, unit in units.items()}
        shared = {
            **dict(zip([*PLACE, *METHOD_COLUMNS], key, strict=True)),
            "simulated": part["simulated"].any(),
        }
        for name, mean in means.items():
            own = part[(part["group"] == name) & (part["seed"] == part["seed"].iloc[0])]
            counts = {count: own[count].sum() for count in ("n_test", "n_pos")}
            counts |= {"n_findings": own["n_findings"].max(), "n_seeds": mean.n_seeds}
            ends = {"value": mean.mean, "ci_low": mean.low, "ci_high": mean.high}
            found.append({**shared, "group": name, "against": "", **ends, **counts})
        # By order of the mean, so that two groups with equal means are still two.
        best, *_, worst = sorted(means, key=lambda name: -means[name].mean)
        gap = paired_difference(units[best], units[worst])
        ends = {"value": gap.mean, "ci_low": gap.low, "ci_high": gap.high, "p": gap.p}
        found.append({**shared, "group": best, "against": worst, **ends, "n_seeds": gap.n_seeds})
    return pd.DataFrame(found, columns=COLUMNS)


def subgroups(stems: Sequence[Path], prepared: Path, out: Path, n_resamples: int = RESAMPLES) -> None:
    """Write the table of subgroups.

    Args:
        stems: prediction files without suffix, `predictions/<task>/<dataset>/<setting>/<bundle>`.
        prepared: `data/prepared`, with `images.parquet` of every data set.
        out: the `.csv` to write.
        n_resamples: patient resamples; RESAMPLES at most.
    """
    columns = ["image_id", *ATTRIBUTES]
    groups = cache(
        lambda name: image_groups(pd.read_parquet(prepared / name / "images.parquet", columns=columns))
    )
    n_resamples = min(n_resamples, RESAMPLES)
    found = [pair for stem in stems for pair in job_values(stem, groups(stem.parts[-3]), n_resamples)]
    table = pd.DataFrame(columns=COLUMNS)
    if found:
        rows, replicates = zip(*found, strict=True)
        table = summarise(pd.DataFrame(list(rows)).astype({"pretrain_seed": float}), np.stack(replicates))
    table[COUNT_COLUMNS] = table[COUNT_COLUMNS].astype("Float64").astype("Int64")
    table[DECIMAL_COLUMNS] = table[DECIMAL_COLUMNS].astype(float).round(DIGITS)
    with atomic_path(out) as temporary:
        table.sort_values([*PLACE, *METHOD_COLUMNS], kind="stable").to_csv(
            temporary, index=False, lineterminator="\n"
        )
