"""Supervised classification of findings: a linear head on frozen features, or fine-tuning."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.metrics.exclusive import EXCLUSIVE_ACCURACY
from prior.protocols import Protocol
from prior.tasks import base, dense
from prior.tasks.base import (
    Cell,
    CellResult,
    omitted,
    refusal,
    split_preset,
    test_images,
    training_images,
    validation_images,
)
from prior.tasks.dense import dense_source
from prior.tasks.f1_threshold import UNDEFINED, best_f1_thresholds
from prior.tasks.features import Features
from prior.tasks.finetune import search
from prior.tasks.labels import VALUE, finding_names, label_matrix, long_predictions
from prior.tasks.linear_head import EXCLUSIVE, LOSSES, SELECTION, ClassificationJob
from prior.tasks.linear_probe import both_classes
from prior.tasks.native import NATIVE, native_features
from prior.tasks.probe import probe_features, probed

LOGISTIC, LINEAR = "logistic", "linear"
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
        InputError: such a protocol without cached features, no finding to classify, or not all of
            the classes that exclude each other.
    """
    findings = finding_names(data, protocol)
    wanted = protocol["findings"]["only"]
    if protocol["loss"] == EXCLUSIVE and len(findings) != len(wanted or []):
        raise InputError(
            f"{data.root}/labels.parquet has {', '.join(findings)} of the classes {', '.join(wanted or [])} "
            f"that protocol {protocol.family} tells apart; choose a version of the dataset that has all"
        )
    if protocol["feature"] == NATIVE:
        seen = native_features(bundle, data.pixels(bundle.info.image.input_size, protocol["fit"]))
        if seen is None:
            reason = (
                "the encoder has no class token and no attention pool: the mean of its last map is linear"
            )
            yield from ((cell, omitted(reason)) for cell in cells)
            return
    else:
        seen = probe_features(data, protocol, features) if protocol["head_name"] == LOGISTIC else None
    for cell in cells:
        train = training_images(data, protocol, cell)
        labels = label_matrix(data, train["image_id"], findings, protocol)
        info = {
            "split": split_preset(data, protocol, cell),
            "n_train": len(train),
            "n_pos": int((labels == 1).any(axis=1).sum()),
            "n_unfit": sum(not both_classes(column) for column in labels.T),
        }
        if refused := _refusal(protocol, labels):
            yield cell, omitted(refused, **info)
        elif seen is None:
            yield cell, _trained(bundle, data, protocol, cell, work, findings, info, features)
        else:
            yield cell, probed(seen, data, protocol, cell, work, findings, info)


def _refusal(protocol: Protocol, labels: Floats) -> str | None:
    if labels.shape[1] > 1:
        return refusal(protocol, len(labels))
    return refusal(protocol, len(labels), int((labels == 1).sum()), int((labels == 0).sum()))


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
    thresholds = best_f1_thresholds(job.probabilities(job.held_out[0]), job.held_out[1])
    test = test_images(data, protocol, cell)
    scores = job.probabilities(test["row"].to_numpy(np.int64))
    if protocol["loss"] != EXCLUSIVE:
        # A finding with one value in training was never asked to tell images apart.
        unfit = [not both_classes(column) for column in job.train_images[1].T]
        scores[:, unfit], thresholds[unfit] = UNDEFINED, UNDEFINED
    truth = label_matrix(data, test["image_id"], findings, protocol)
    info = {**info, "n_validation": len(job.held_out[0]), "n_test": len(test), "selected": selected}
    return CellResult(long_predictions(test, findings, scores, truth, thresholds), info)


# What all heads read.
SHARED: dict[str, Collection[Any]] = {
    **base.CHOICES,
    "uses_labels": [True],
    "images": ["all"],
    "head_name": [LOGISTIC, LINEAR],
    "selection_seed": ["first"],
    "missing": VALUE,
    "uncertain": VALUE,
    "metrics": ["auroc", "auprc", "accuracy", "f1", "brier", "ece", EXCLUSIVE_ACCURACY],
}
# By head: what a knob may say, and the knobs that are read as they are.
CHOICES: dict[str, dict[str, Collection[Any]]] = {
    LOGISTIC: {
        **SHARED,
        "frozen": [True],
        "feature": ["mean of the last map", NATIVE, "metadata"],
        "standardise": ["z-score over all training images without labels"],
        "loss": ["binary cross-entropy"],
        "selection": ["macro AUROC"],
    },
    LINEAR: {
        **dense.CHOICES,
        **SHARED,
        "feature": ["mean of the last map"],
        "loss": LOSSES,
        "selection": SELECTION,
    },
}
READ = {
    LOGISTIC: base.READ | base.LABELLED | {"findings", "c_grid", "c_folds", "c_fallback", "solver"},
    LINEAR: dense.READ | {"findings", "standardise"},
}


def check(protocol: Protocol) -> None:
    """Stop unless the task does all that `protocol` states.

    Raises:
        InputError: a knob that the task does not read with this head, or a value that it does not implement.
    """
    head = protocol["head_name"] if protocol["head_name"] in CHOICES else LINEAR
    protocol.require(CHOICES[head], READ[head])
