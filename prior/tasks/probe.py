"""The convex probe of classification: L2 logistic regression on features that no training changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.files import read_json, write_json
from prior.data.prepared import PreparedDataset
from prior.errors import InputError
from prior.protocols import Protocol
from prior.tasks.base import (
    Cell,
    CellResult,
    selection_cell,
    test_images,
    training_images,
    unlabelled_training_images,
    validation_images,
)
from prior.tasks.f1_threshold import best_f1_thresholds
from prior.tasks.features import Features
from prior.tasks.labels import label_matrix, long_predictions
from prior.tasks.linear_probe import fit_probe, select_c

Floats = NDArray[np.float64]


class Training(NamedTuple):
    """Labelled images of a cell, z-scores [n, d] and labels [n, findings] of them, and z-scores of others."""

    images: pd.DataFrame
    features: Floats
    labels: Floats
    z: Callable[[pd.DataFrame], Floats]


def probe_features(
    data: PreparedDataset, protocol: Protocol, features: Features | None
) -> NDArray[np.float32]:
    """Return what the probe sees, [store rows, features]: the mean of the last map, or metadata alone.

    Raises:
        InputError: the probe needs an encoder's features, and there are none.
    """
    if protocol["feature"] == "metadata":
        return metadata_features(data.images)
    if features is None:
        raise InputError(f"a frozen protocol needs the features of {data.name}")
    return np.asarray(features.pooled)


def metadata_features(images: pd.DataFrame) -> NDArray[np.float32]:
    """Return view, sex, age and follow-up number, [store rows, features]: what a shortcut could use.

    An unknown age is the mean age, with a flag of its own.

    Args:
        images: the table of a prepared dataset.
    """
    age = images["age"].astype(float)
    known = pd.get_dummies(images[["view", "sex"]].astype("string").fillna("unknown"))
    numbers = pd.DataFrame(
        {"age": age.fillna(age.mean() if age.notna().any() else 0.0), "no_age": age.isna()}
    ).assign(follow_up=images["study_order"].astype(float))
    table = pd.concat([known, numbers], axis=1).to_numpy(np.float32)
    found = np.zeros((int(images["row"].max()) + 1, table.shape[1]), dtype=np.float32)
    found[images["row"]] = table
    return found


def probed(
    seen: NDArray[np.float32],
    data: PreparedDataset,
    protocol: Protocol,
    cell: Cell,
    work: Path,
    findings: list[str],
    info: dict[str, Any],
) -> CellResult:
    """Fit one regression per finding: z-scores over all training images, one C for all.

    Args:
        seen: features [store rows, features].
        data: dataset with labels.
        protocol: knobs.
        cell: the cell to fit.
        work: folder of the job's unfinished work, where the chosen C is kept.
        findings: findings to classify.
        info: what is known of the cell so far.
    """
    own = _training(seen, data, protocol, cell, findings)
    chosen = _chosen_c(seen, data, protocol, cell, work, findings, own)
    scores, _ = fit_probe(own.features, own.labels, chosen["c"], **protocol["solver"])
    held_out = validation_images(data, protocol, cell)
    truth = label_matrix(data, held_out["image_id"], findings, protocol)
    thresholds = best_f1_thresholds(scores(own.z(held_out)), truth)
    test = test_images(data, protocol, cell)
    truth = label_matrix(data, test["image_id"], findings, protocol)
    frame = long_predictions(test, findings, scores(own.z(test)), truth, thresholds)
    sizes = {"n_validation": len(held_out), "n_test": len(test)}
    return CellResult(frame, {**info, **sizes, "selected": chosen})


def _training(
    seen: NDArray[np.float32], data: PreparedDataset, protocol: Protocol, cell: Cell, findings: list[str]
) -> Training:
    reference = seen[unlabelled_training_images(data, protocol, cell)["row"]].astype(np.float64)
    mean, std = reference.mean(axis=0), reference.std(axis=0)
    scale = np.where(std > 0, std, 1.0)

    def z(images: pd.DataFrame) -> Floats:
        return np.asarray((seen[images["row"]].astype(np.float64) - mean) / scale)

    images = training_images(data, protocol, cell)
    return Training(images, z(images), label_matrix(data, images["image_id"], findings, protocol), z)


def _chosen_c(
    seen: NDArray[np.float32],
    data: PreparedDataset,
    protocol: Protocol,
    cell: Cell,
    work: Path,
    findings: list[str],
    own: Training,
) -> dict[str, Any]:
    """Return C and how it was chosen: once per fraction and fold, so that all bundles have equal trials."""
    first = selection_cell(data, protocol, cell)
    path = work / f"selection-{first.name}.json"
    if not path.exists():
        train = own if first == cell else _training(seen, data, protocol, first, findings)
        chosen = select_c(
            train.features,
            train.labels,
            train.images["patient_id"].to_numpy(dtype=object),
            [float(c) for c in protocol["c_grid"]],
            protocol["c_folds"],
            float(protocol["c_fallback"]),
            **protocol["solver"],
        )
        edges = (min(chosen.scores), max(chosen.scores)) if chosen.scores else ()
        scores = {f"{c:g}": score for c, score in chosen.scores.items()}
        write_json(path, {"c": chosen.c, "c_scores": scores, "at_grid_edge": chosen.c in edges})
    kept: dict[str, Any] = read_json(path)
    return kept
