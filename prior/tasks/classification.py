"""Supervised classification of findings: a linear head on frozen features, or fine-tuning."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.protocols import Protocol
from prior.tasks import dense
from prior.tasks.base import (
    Cell,
    CellResult,
    omitted,
    refusal,
    split_preset,
    test_images,
    training_images,
    unlabelled_training_images,
    validation_images,
)
from prior.tasks.dense import dense_source
from prior.tasks.features import Features
from prior.tasks.finetune import search
from prior.tasks.labels import VALUE, finding_names, label_matrix, long_predictions
from prior.tasks.linear_head import LOSSES, SELECTION, ClassificationJob
from prior.tasks.linear_probe import both_classes, probe_scores, select_c

Floats = NDArray[np.float64]


def evaluate(
    bundle: Bundle,
    data: PreparedDataset,
    protocol: Protocol,
    cells: Sequence[Cell],
    work: Path,
    features: Features | None = None,
) -> Iterator[tuple[Cell, CellResult]]:
    """Yield per cell the probability of every finding in every test image that has a label.

    Args:
        bundle: encoder.
        data: dataset with labels.
        protocol: knobs; `head_name` decides between the convex probe and a head that is trained in steps,
            `frozen` whether the encoder learns with it.
        cells: cells to compute.
        work: folder for what survives an interruption.
        features: cached features, for frozen protocols without augmentation.

    Raises:
        InputError: such a protocol without cached features, knobs that do not fit the head, or no finding to
            classify.
    """
    protocol.require(OF_HEAD[protocol["head_name"]], protocol.knobs)
    findings = finding_names(data, protocol)
    pooled = _features(bundle, data, protocol, features) if protocol["head_name"] == "logistic" else None
    for cell in cells:
        train = training_images(data, protocol, cell)
        labels = label_matrix(data, train["image_id"], findings, protocol)
        info = {
            "split": split_preset(data, protocol, cell),
            "n_train": len(train),
            "n_pos": int((labels == 1).any(axis=1).sum()),
            "n_unfit": sum(not both_classes(column) for column in labels.T),
        }
        reason = _refusal(protocol, labels)
        if reason:
            yield cell, omitted(reason, **info)
        elif pooled is None:
            yield cell, _trained(bundle, data, protocol, cell, work, findings, info, features)
        else:
            yield cell, _probed(pooled, data, protocol, cell, findings, info)


def _features(
    bundle: Bundle, data: PreparedDataset, protocol: Protocol, features: Features | None
) -> NDArray[np.float32]:
    """Return what the probe sees, [store rows, features]: the mean of the last map, or metadata alone."""
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


def _refusal(protocol: Protocol, labels: Floats) -> str | None:
    if labels.shape[1] > 1:
        return refusal(protocol, len(labels))
    return refusal(protocol, len(labels), int((labels == 1).sum()), int((labels == 0).sum()))


def _probed(
    pooled: NDArray[np.float32],
    data: PreparedDataset,
    protocol: Protocol,
    cell: Cell,
    findings: list[str],
    info: dict[str, Any],
) -> CellResult:
    """Fit the linear probe: z-scores over all training images, C by cross-validation on labelled ones."""
    reference = pooled[unlabelled_training_images(data, protocol, cell)["row"]].astype(np.float64)
    mean, std = reference.mean(axis=0), reference.std(axis=0)
    scale = np.where(std > 0, std, 1.0)

    def z(images: pd.DataFrame) -> Floats:
        return np.asarray((pooled[images["row"]].astype(np.float64) - mean) / scale)

    train = training_images(data, protocol, cell)
    labels = label_matrix(data, train["image_id"], findings, protocol)
    solver = protocol["solver"]
    chosen = select_c(
        z(train),
        labels,
        train["patient_id"].to_numpy(dtype=object),
        [float(c) for c in protocol["c_grid"]],
        protocol["c_folds"],
        float(protocol["c_fallback"]),
        **solver,
    )
    test = test_images(data, protocol, cell)
    scores, _ = probe_scores(z(train), labels, z(test), chosen.c, **solver)
    truth = label_matrix(data, test["image_id"], findings, protocol)
    selected = {
        "c": chosen.c,
        "c_scores": {f"{c:g}": score for c, score in chosen.scores.items()},
        "at_grid_edge": bool(chosen.scores) and chosen.c in (min(chosen.scores), max(chosen.scores)),
    }
    frame = long_predictions(test, findings, scores, truth)
    return CellResult(frame, {**info, "n_validation": 0, "n_test": len(test), "selected": selected})


def _trained(
    bundle: Bundle,
    data: PreparedDataset,
    protocol: Protocol,
    cell: Cell,
    work: Path,
    findings: list[str],
    info: dict[str, Any],
    features: Features | None,
) -> CellResult:
    """Train the linear head in steps, alone or with the encoder."""
    if features is not None:
        # Pooled features are a map of one cell.
        levels = [features.pooled[:, :, None, None]]
        features = replace(
            features, levels=levels, channels=features.channels[-1:], strides=features.strides[-1:]
        )

    def build(of: Cell, rate: float) -> ClassificationJob:
        train, held_out = training_images(data, protocol, of), validation_images(data, protocol, of)
        return ClassificationJob(
            dense_source(bundle, data, protocol, features),
            (train["row"].to_numpy(np.int64), label_matrix(data, train["image_id"], findings, protocol)),
            (
                held_out["row"].to_numpy(np.int64),
                label_matrix(data, held_out["image_id"], findings, protocol),
            ),
            rate,
            protocol,
        )

    job, selected = search(build, data, protocol, cell, work)
    test = test_images(data, protocol, cell)
    scores = job.probabilities(test["row"].to_numpy(np.int64))
    # A finding with one value in training was never asked to tell images apart.
    train = training_images(data, protocol, cell)
    labels = label_matrix(data, train["image_id"], findings, protocol)
    scores[:, [not both_classes(column) for column in labels.T]] = 0.5
    truth = label_matrix(data, test["image_id"], findings, protocol)
    info = {**info, "n_validation": len(job.held_out[0]), "n_test": len(test), "selected": selected}
    return CellResult(long_predictions(test, findings, scores, truth), info)


# What the other knobs must say beside a head, which decides it.
OF_HEAD: dict[str, dict[str, Collection[Any]]] = {
    "logistic": {
        "frozen": [True],
        "augmentation": [{}],
        "standardise": ["z-score over all training images without labels"],
        "selection": ["macro AUROC"],
    },
    "linear": {"feature": ["mean of the last map"]},
}
CHOICES: dict[str, Collection[Any]] = {
    **dense.CHOICES,
    "images": ["all"],
    "head_name": OF_HEAD,
    "feature": ["mean of the last map", "metadata"],
    "loss": LOSSES,
    "selection": SELECTION,
    "missing": VALUE,
    "uncertain": VALUE,
    "metrics": ["auroc", "auprc", "brier", "ece"],
}
READ = dense.READ | {"findings", "standardise", "c_grid", "c_folds", "c_fallback", "solver"}
