"""Predictions of one bundle → metric rows per cell and their replicates over patient resamples."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.files import atomic_path, read_json
from prior.errors import InputError
from prior.metrics.arrays import Floats
from prior.metrics.cell import CellMetrics, Compute, Key
from prior.metrics.classification import SUBSET, finding_metrics
from prior.metrics.detection import detection_metrics
from prior.metrics.exclusive import EXCLUSIVE, EXCLUSIVE_ACCURACY, exclusive_metrics
from prior.metrics.grounding import grounding_metrics
from prior.metrics.intervals import Resamples, patient_resamples
from prior.metrics.prototypes import prototype_metrics
from prior.metrics.report_generation import report_metrics
from prior.metrics.retrieval import retrieval_metrics
from prior.metrics.rows import FLAG_COLUMNS, ROW_COLUMNS, TEXT_COLUMNS
from prior.metrics.segmentation import segmentation_metrics

N_RESAMPLES = 2000
BESIDE_METADATA = "linear"
"""Setting that a probe of view, sex and age is fitted like, and beside which it stands."""
COLUMNS = {
    "classification": ["image_id", "patient_id", "finding", "score", "label"],
    "zero_shot": ["image_id", "patient_id", "finding", "score", "label"],
    "retrieval": [
        "image_id",
        "patient_id",
        "direction",
        "rank",
        "pool",
        "n_relevant",
        "hits_1",
        "hits_5",
        "hits_10",
    ],
    "segmentation": ["image_id", "patient_id", "tp", "fp", "fn", "n_mask"],
    "detection": ["image_id", "patient_id", "kind", "score", "x_min", "y_min", "x_max", "y_max"],
    "grounding": ["image_id", "patient_id", "finding", "hit", "cnr", "miou", "area"],
    "prototypes": ["image_id", "patient_id", "nearest", "entropy", "n_prototypes"],
    "report_generation": ["image_id", "patient_id", "study_id", "generated", "reference", "frequent"],
}
# Stated, as a file whose cells were all refused has no values to tell the types by.
TYPES = {
    name: "str" if name in TEXT_COLUMNS else "bool" if name in FLAG_COLUMNS else "float64"
    for name in ROW_COLUMNS
    if name != "experiment"
} | {"resamples": "str"}


def cell_metrics(task: str, frame: pd.DataFrame, asked: Collection[str] = ()) -> list[CellMetrics]:
    """Metrics of one cell's predictions; zero-shot has two image sets, the test split and 5x200.

    `asked` names those of the protocol: some are computed only for protocols that ask for them.
    """
    if task == "classification":
        parts = [finding_metrics(frame, True, asked)]
        return parts + ([exclusive_metrics(frame, EXCLUSIVE, asked)] if EXCLUSIVE_ACCURACY in asked else [])
    if task == "zero_shot":
        subset = frame["finding"].str.startswith(SUBSET)
        parts = [finding_metrics(frame[~subset], probabilities=False)] if (~subset).any() else []
        return parts + ([exclusive_metrics(frame[subset], f"_{SUBSET[:-1]}", asked)] if subset.any() else [])
    if task == "detection":
        return [detection_metrics(frame, asked)]
    if task == "segmentation":
        return [segmentation_metrics(frame, asked)]
    single = {
        "retrieval": retrieval_metrics,
        "grounding": grounding_metrics,
        "prototypes": prototype_metrics,
        "report_generation": report_metrics,
    }
    return [single[task](frame)]


def evaluate_metrics(metrics: CellMetrics, compute: Compute, resamples: Resamples) -> dict[Key, Floats]:
    """Every metric on the full set (first) and on each resample. Returns [1 + B] per metric."""
    n = len(metrics.patients)
    parts = [compute(np.ones((1, n)))]
    parts += [compute(weights) for weights in resamples.chunks(n)]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _description(info: Mapping[str, Any], stem: Path) -> dict[str, Any]:
    """Row columns that all cells of a prediction file share."""
    source = f"{stem}.json"
    for key in ("task", "dataset", "protocol", "setting", "simulated", "cells", "bundle"):
        if key not in info:
            raise InputError(f"{source}: key `{key}` is missing; delete the file and evaluate again")
    bundle, task = info["bundle"], info["task"]
    if task not in COLUMNS:
        raise InputError(f"{source}: task `{task}` has no metrics; known: {', '.join(COLUMNS)}")
    return {
        "method": bundle["method"],
        "variant": bundle.get("variant", ""),
        "pretraining_data": bundle.get("pretraining_data") or "",
        "pretrain_seed": bundle.get("pretrain_seed"),
        "n_pretrain_pairs": bundle.get("n_pretrain_pairs"),
        "samples_seen": bundle.get("samples_seen"),
        "simulated": bool(info["simulated"]) or bool(bundle.get("simulated")),
        "contamination": info.get("contamination") or "",
        "task": task,
        "dataset": info["dataset"],
        "protocol": info["protocol"],
        "setting": info["setting"],
        "split": info["split"],
        "head": "" if info.get("head") in (None, "none") else info["head"],
        "frozen": bool(info.get("frozen", True)),
        "subgroup": "",
        "run": "/".join(stem.parts[-4:]),
    }


def _baseline_description(shared: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The same for a method that sees no image: nothing of the bundle, so that all bundles agree on it."""
    bundle = {"variant": "", "pretraining_data": "", "contamination": "", "pretrain_seed": None}
    run = "/".join([*str(shared["run"]).split("/")[:-1], method])
    return {**shared, **bundle, "n_pretrain_pairs": None, "samples_seen": None, "method": method, "run": run}


def _same(values: pd.Series, wanted: Any) -> pd.Series:
    return values.isna() if wanted is None else values == wanted


def _cells(
    info: Mapping[str, Any], predictions: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Cells that were not omitted, with their predictions."""
    for cell in info["cells"]:
        if cell.get("omitted"):
            continue
        fold = -1 if cell.get("fold") is None else cell["fold"]
        chosen = (predictions["seed"] == cell["seed"]) & (predictions["fold"] == fold)
        yield cell, predictions[chosen & _same(predictions["fraction"], cell.get("fraction"))]


def _rows(
    metrics: CellMetrics, values: Mapping[Key, Floats], common: Mapping[str, Any], key: str
) -> Iterator[tuple[dict[str, Any], Floats]]:
    for (metric, finding), column in values.items():
        row = {"metric": metric, "finding": finding, "value": float(column[0]), "resamples": key}
        counts = {"n_test": metrics.n_test.get(finding), "n_pos": metrics.n_pos.get(finding)}
        yield {**common, **row, **counts}, column[1:].astype(np.float32)


class Scorer:
    """Turns the cells of one prediction file into rows; resamples and baselines are shared between cells.

    Args:
        info: the prediction file's JSON.
        stem: path of the prediction file without its suffix.
        n_resamples: patient resamples behind every interval.
        seed: changes the resamples of the whole experiment.
    """

    def __init__(self, info: Mapping[str, Any], stem: Path, n_resamples: int, seed: int):
        self.shared = _description(info, stem)
        self.n_resamples = n_resamples
        self.source = f"{info['dataset']}|{self.shared['split']}|{seed}"
        if info.get("knobs", {}).get("feature") == "metadata":
            self.shared = _baseline_description(self.shared, "metadata_only") | {"setting": BESIDE_METADATA}
        self.asked = info.get("knobs", {}).get("metrics", ())
        self.baselines_done: set[tuple[str, str, int]] = set()

    def cell(self, cell: Mapping[str, Any], frame: pd.DataFrame) -> Iterator[tuple[dict[str, Any], Floats]]:
        """Rows and replicates of one cell, and of the baselines of a test set that is seen first."""
        fold = -1 if cell.get("fold") is None else int(cell["fold"])
        place = {"seed": cell["seed"], "fold": fold if fold >= 0 else None}
        for metrics in cell_metrics(self.shared["task"], frame, self.asked):
            resamples = patient_resamples(metrics.patients, metrics.positive, self.n_resamples, self.source)
            values = evaluate_metrics(metrics, metrics.compute, resamples)
            if ("n_unfit", "") in values and "n_unfit" in cell:
                values["n_unfit", ""] = np.full(1 + self.n_resamples, float(cell["n_unfit"]))
            counts = {"fraction": cell.get("fraction"), "n_train": cell.get("n_train")}
            yield from _rows(metrics, values, {**self.shared, **place, **counts}, resamples.key)
            for method, compute in metrics.baselines.items():
                if (method, resamples.key, fold) not in self.baselines_done:
                    self.baselines_done.add((method, resamples.key, fold))
                    values = evaluate_metrics(metrics, compute, resamples)
                    common = {**_baseline_description(self.shared, method), **place}
                    yield from _rows(
                        metrics, values, {**common, "fraction": None, "n_train": None}, resamples.key
                    )


def _load(stem: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    info = read_json(Path(f"{stem}.json"))
    predictions = pd.read_parquet(f"{stem}.parquet")
    wanted = ["fraction", "seed", "fold", *COLUMNS.get(info.get("task"), [])]
    missing = [name for name in wanted if name not in predictions.columns]
    if missing and any(not cell.get("omitted") for cell in info.get("cells", [])):
        raise InputError(
            f"{stem}.parquet: column {missing[0]} is missing; delete the file and evaluate again"
        )
    return info, predictions


def score(predictions_stem: Path, out_stem: Path, n_resamples: int = N_RESAMPLES, seed: int = 0) -> None:
    """Score one prediction file.

    Args:
        predictions_stem: `predictions/<task>/<dataset>/<protocol>-<setting>/<bundle>`, without suffix.
        out_stem: the same below `scores/`; writes `.parquet` (one row per cell, metric and finding) and
            `.npz` (`replicates` float32 [rows, B], aligned with the rows).
        n_resamples: number of patient resamples B.
        seed: names the draws; all bundles must use the same.

    Raises:
        InputError: a key or column is missing.
    """
    info, predictions = _load(predictions_stem)
    scorer = Scorer(info, predictions_stem, n_resamples, seed)
    rows: list[dict[str, Any]] = []
    replicates: list[Floats] = []
    for cell, frame in _cells(info, predictions):
        if frame.empty:
            raise InputError(
                f"{predictions_stem}.parquet: no rows for {dict(cell)}; delete it and evaluate again"
            )
        for row, replicate in scorer.cell(cell, frame):
            rows.append(row)
            replicates.append(replicate)
    table = pd.DataFrame(rows, columns=list(TYPES)).astype(TYPES)
    stacked = np.stack(replicates) if replicates else np.zeros((0, n_resamples), dtype=np.float32)
    with atomic_path(Path(f"{out_stem}.npz")) as temporary:
        np.savez_compressed(temporary, replicates=stacked)
    with atomic_path(Path(f"{out_stem}.parquet")) as temporary:
        table.to_parquet(temporary, index=False)
