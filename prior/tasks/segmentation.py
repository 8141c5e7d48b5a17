"""Semantic segmentation: a U-Net decoder on the encoder's maps, frozen or fine-tuned."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn
from torch.nn import functional as F

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.protocols import Protocol
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
from prior.tasks.dense import DenseSource, dense_source, in_batches, to_tensor
from prior.tasks.features import Features
from prior.tasks.finetune import Job, search
from prior.tasks.maps import Rows, tune_layout

EXAMPLES = 6
THRESHOLDS = np.arange(1, 20) / 20


class UNetHead(nn.Module):
    """U-Net decoder (Ronneberger et al., arXiv 1505.04597) of segmentation_models_pytorch, 1×1 logits.

    Args:
        channels: channels of the encoder's maps, finest first.
        widths: channels of the decoder's blocks, coarsest first, one per map; the last works at half the
            finest map's stride.
        prevalence: share of positive pixels, which the initial output predicts everywhere.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], prevalence: float) -> None:
        super().__init__()
        # The decoder takes the input's own resolution first; only its shape is read, hence 0 channels.
        self.decoder = UnetDecoder((0, *channels), tuple(widths), len(widths))
        self.logits = nn.Conv2d(widths[-1], 1, kernel_size=1)
        share = min(max(prevalence, 1e-4), 1 - 1e-4)
        nn.init.constant_(self.logits.bias, float(np.log(share / (1 - share))))  # type: ignore[arg-type]

    def forward(self, maps: list[Tensor], size: int) -> Tensor:
        """Return logits [B, size, size] of maps [B, C_k, h_k, w_k], finest first."""
        batch, _, height, width = maps[0].shape
        finest = maps[0].new_empty((batch, 0, 2 * height, 2 * width))
        logits = self.logits(self.decoder([finest, *maps]))
        return F.interpolate(logits.float(), size=(size, size), mode="bilinear", align_corners=False).squeeze(
            1
        )


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice, both over all pixels of the batch.

    L = BCE(z, y) + 1 - (2 Σ σ(z) y + 1) / (Σ σ(z) + Σ y + 1), the sums over images and pixels, so that images
    without a mask add false positives to the Dice term instead of an undefined value.

    Args:
        logits: [B, H, W].
        target: [B, H, W] of 0 and 1.
    """
    probability = logits.sigmoid()
    overlap = 2 * (probability * target).sum() + 1
    dice = overlap / (probability.sum() + target.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, target) + 1 - dice


def best_threshold(probability: NDArray[np.float32], target: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the threshold in {.05, …, .95} with the best pooled Dice, and that Dice.

    Without a positive pixel the Dice is NaN and the threshold .5.

    Args:
        probability: pixels of any shape.
        target: the same shape.
    """
    if not target.any():
        return 0.5, float("nan")
    level = np.searchsorted(THRESHOLDS, probability.ravel(), side="right")
    bins = len(THRESHOLDS) + 1
    positive = np.bincount(level[target.ravel()], minlength=bins)
    every = np.bincount(level, minlength=bins)
    # A pixel in bin k passes the first k thresholds.
    tp = positive[::-1].cumsum()[::-1][1:]
    predicted = every[::-1].cumsum()[::-1][1:]
    dice = 2 * tp / (predicted + positive.sum())
    return float(THRESHOLDS[dice.argmax()]), float(dice.max())


class SegmentationJob(Job):
    """U-Net head on frozen or trainable maps."""

    def __init__(
        self,
        source: DenseSource,
        masks: NDArray[np.uint8],
        train: Rows,
        held_out: Rows,
        rate: float,
        protocol: Protocol,
    ) -> None:
        self.masks, self.rows, self.held_out = masks, train, held_out
        self.device, self.precision = source.device, source.precision
        targets = masks[train]
        self.positive = np.asarray(targets.any(axis=(1, 2)))
        head = UNetHead(source.maps.channels, protocol["decoder_channels"], float(targets.mean()))
        self.maps, self.head = source.maps, tune_layout(head, self.device)
        self.model = nn.ModuleList([self.maps, self.head])
        self.groups = source.groups(head, rate, protocol)
        self.batch = int(protocol["evaluation_batch"])

    def logits(self, rows: Rows) -> Tensor:
        """Return logits [B, size, size] of store rows [B]."""
        logits: Tensor = self.head(self.maps(rows), self.masks.shape[1])
        return logits

    def loss(self, chosen: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """Return the mask loss of training images `chosen`."""
        rows = self.rows[chosen]
        return mask_loss(self.logits(rows), to_tensor(self.masks[rows], self.device))

    def probabilities(self, rows: Rows) -> NDArray[np.float32]:
        """Return foreground probabilities [n, size, size]."""
        parts = in_batches(rows, self.batch, self.precision, self.device, lambda r: self.logits(r).sigmoid())
        return np.concatenate([part.cpu().numpy() for part in parts])

    def validate(self) -> float:
        """Return the validation pooled Dice at its best threshold."""
        return best_threshold(self.probabilities(self.held_out), self.masks[self.held_out] > 0)[1]


def evaluate(
    bundle: Bundle,
    data: PreparedDataset,
    protocol: Protocol,
    cells: Sequence[Cell],
    work: Path,
    features: Features | None = None,
) -> Iterator[tuple[Cell, CellResult]]:
    """Yield per cell the true positive, false positive and false negative pixels of every test image.

    Args:
        bundle: encoder.
        data: dataset with masks (class-agnostic union).
        protocol: knobs; `frozen` decides between cached maps and an encoder that learns.
        cells: cells to compute.
        work: folder for what survives an interruption.
        features: cached maps, for frozen protocols.

    Raises:
        InputError: a frozen protocol without cached maps.
    """
    masks = data.mask_pixels(bundle.info.image.input_size, protocol["fit"])
    for cell in cells:
        train = training_images(data, protocol, cell)
        rows = train["row"].to_numpy(np.int64)
        held_out = validation_images(data, protocol, cell)["row"].to_numpy(np.int64)
        info = _sizes(data, protocol, cell, masks, rows, held_out)
        reason = refusal(protocol, info["n_train"], info["n_pos"])
        if reason:
            yield cell, omitted(reason, **info)
            continue

        def build(of: Cell, rate: float) -> SegmentationJob:
            own = training_images(data, protocol, of)["row"].to_numpy(np.int64)
            check = validation_images(data, protocol, of)["row"].to_numpy(np.int64)
            source = dense_source(bundle, data, protocol, features)
            return SegmentationJob(source, masks, own, check, rate, protocol)

        job, selected = search(build, data, protocol, cell, work)
        threshold, _ = best_threshold(job.probabilities(held_out), masks[held_out] > 0)
        test = test_images(data, protocol, cell)
        frame = _counts(job, test, masks, threshold)
        selected["threshold"] = threshold
        examples = _examples(job, data, test, masks, threshold, protocol["fit"])
        yield cell, CellResult(frame, {**info, "n_test": len(test), "selected": selected}, examples)


def _examples(
    job: SegmentationJob,
    data: PreparedDataset,
    test: pd.DataFrame,
    masks: NDArray[np.uint8],
    threshold: float,
    fit: str,
) -> dict[str, NDArray[Any]]:
    """Return the first test images with a mask, [n, H, W], with the true and the predicted mask."""
    rows = test["row"].to_numpy(np.int64)
    rows = rows[masks[rows].any(axis=(1, 2))][:EXAMPLES]
    if not len(rows):
        return {}
    return {
        "images": np.asarray(data.pixels(masks.shape[1], fit)[rows]),
        "truth": masks[rows] > 0,
        "predicted": job.probabilities(rows) >= threshold,
    }


def _sizes(
    data: PreparedDataset,
    protocol: Protocol,
    cell: Cell,
    masks: NDArray[np.uint8],
    rows: Rows,
    held_out: Rows,
) -> dict[str, Any]:
    return {
        "split": split_preset(data, protocol, cell),
        "n_train": len(rows),
        "n_pos": int(masks[rows].any(axis=(1, 2)).sum()),
        "n_validation": len(held_out),
    }


def _counts(
    job: SegmentationJob, test: pd.DataFrame, masks: NDArray[np.uint8], threshold: float
) -> pd.DataFrame:
    rows = test["row"].to_numpy(np.int64)
    predicted = job.probabilities(rows) >= threshold
    truth = masks[rows] > 0
    tp = (predicted & truth).sum(axis=(1, 2))
    return pd.DataFrame(
        {
            "image_id": test["image_id"].to_numpy(),
            "patient_id": test["patient_id"].to_numpy(),
            "tp": tp,
            "fp": predicted.sum(axis=(1, 2)) - tp,
            "fn": truth.sum(axis=(1, 2)) - tp,
            "n_mask": truth.sum(axis=(1, 2)),
        }
    )
