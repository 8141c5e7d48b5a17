"""Semantic segmentation: a head on the encoder's maps, frozen or fine-tuned."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prior.data.augment import Augmentation, augment, sample_affine, warp
from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.protocols import Protocol
from prior.tasks import dense
from prior.tasks.base import (
    IMAGES,
    Cell,
    CellResult,
    omitted,
    refusal,
    split_preset,
    test_images,
    training_images,
    validation_images,
)
from prior.tasks.dense import DenseSource, augmentation, dense_source, in_batches, to_tensor
from prior.tasks.features import Features
from prior.tasks.finetune import Job, search
from prior.tasks.maps import Rows, tune_layout
from prior.tasks.mask_heads import HEADS
from prior.tasks.mask_losses import LOSSES
from prior.tasks.mask_rows import pixel_rows, union
from prior.tasks.mask_threshold import THRESHOLD
from prior.tasks.regions import FindingMasks, marked

EXAMPLES = 6
PER_FINDING = "a mask per finding"
# What the other knobs must say beside a target.
OF_TARGET: dict[str, dict[str, Collection[Any]]] = {
    "union of all masks": {
        "loss": [name for name in LOSSES if not name.endswith("mean over findings")],
        "selection": ["validation pooled Dice", "validation loss"],
    },
    PER_FINDING: {
        "loss": ["batch soft Dice, mean over findings"],
        "threshold": [0.5],
        "selection": ["validation pooled Dice, mean over findings", "validation loss"],
        "augmentation": [{}],
    },
}
Masks = NDArray[np.uint8] | FindingMasks


class SegmentationJob(Job):
    """A head on frozen or trainable maps.

    Args:
        source: maps.
        masks: mask store [N, H, W] of 0 and 1, or one mask per finding [N, K, H, W].
        train: store rows of the training images.
        held_out: store rows of the validation images.
        rate: searched learning rate.
        protocol: knobs.
    """

    def __init__(
        self,
        source: DenseSource,
        masks: Masks,
        train: Rows,
        held_out: Rows,
        rate: float,
        protocol: Protocol,
    ) -> None:
        self.masks, self.rows, self.held_out = masks, train, held_out
        self.device, self.precision = source.device, source.precision
        targets = masks[train]
        self.positive = marked(targets)
        build = HEADS[protocol["head_name"]]
        prevalence = targets.mean(axis=(0, -2, -1))
        head = build(source.maps.channels, source.maps.strides, protocol, prevalence)
        self.maps, self.head = source.maps, tune_layout(head, self.device)
        self.model = nn.ModuleList([self.maps, self.head])
        self.groups = source.groups(head, rate, protocol)
        self.batch = int(protocol["evaluation_batch"])
        self.augmentation, self.mask_loss = augmentation(protocol), LOSSES[protocol["loss"]]
        self.choose_threshold = THRESHOLD[protocol["threshold"]]
        self.select = SELECTION[protocol["selection"]]

    def logits(self, rows: Rows) -> Tensor:
        """Return logits [B, size, size] or [B, K, size, size] of store rows [B]."""
        return self._read(self.maps(rows))

    def _read(self, maps: list[Tensor]) -> Tensor:
        logits: Tensor = self.head(maps, self.masks.shape[-1])
        # A head drops the axis of findings where there is one.
        return logits.reshape(-1, *self.masks.shape[1:])

    def loss(self, chosen: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """Return the mask loss of training images `chosen`, changed together with their masks if at all."""
        rows = self.rows[chosen]
        target = to_tensor(self.masks[rows], self.device)
        settings = self.augmentation
        if settings is None:
            return self.mask_loss(self.logits(rows), target)
        target = warped_masks(target, generator, settings)
        maps = self.maps(rows, lambda images: augment(images, generator, settings))
        return self.mask_loss(self._read(maps), target)

    def probabilities(self, rows: Rows) -> NDArray[np.float32]:
        """Return foreground probabilities [n, size, size] or [n, K, size, size]."""
        parts = in_batches(rows, self.batch, self.precision, self.device, lambda r: self.logits(r).sigmoid())
        return np.concatenate([part.cpu().numpy() for part in parts])

    def threshold(self) -> tuple[float, float]:
        """Return the protocol's threshold and its validation pooled Dice."""
        return self.choose_threshold(self.probabilities(self.held_out), self.masks[self.held_out] > 0)

    def mean_dice(self) -> float:
        """Return the mean over findings of the validation pooled Dice, NaN without a positive pixel."""
        found, wanted = self.probabilities(self.held_out), self.masks[self.held_out] > 0
        dice = [self.choose_threshold(found[:, k], wanted[:, k])[1] for k in range(wanted.shape[1])]
        return float(np.mean(defined)) if (defined := [d for d in dice if d == d]) else float("nan")

    def validate(self) -> float:
        """Return what the protocol selects by."""
        return self.select(self)

    def validation_loss(self) -> float:
        """Return the mask loss of the validation images, averaged over images in evaluation batches."""

        def weighted(rows: Rows) -> float:
            target = to_tensor(self.masks[rows], self.device)
            return float(self.mask_loss(self.logits(rows), target)) * len(rows)

        parts = in_batches(self.held_out, self.batch, self.precision, self.device, weighted)
        return sum(parts) / len(self.held_out) if len(self.held_out) else float("nan")


SELECTION: dict[str, Callable[[SegmentationJob], float]] = {
    "validation pooled Dice": lambda job: job.threshold()[1],
    "validation pooled Dice, mean over findings": lambda job: job.mean_dice(),
    "validation loss": lambda job: -job.validation_loss(),
}
CHOICES: dict[str, Collection[Any]] = {
    **dense.CHOICES,
    "images": IMAGES,
    "head_name": HEADS,
    "loss": LOSSES,
    "threshold": THRESHOLD,
    "selection": SELECTION,
    "target": ["union of all masks", PER_FINDING],
    "metrics": [
        *("dice_pooled", "dice_image_all", "dice_image_positive", "iou_pooled", "specificity_image"),
        "dice_pooled_macro",
        "mdice_pooled",
    ],
}
READ = dense.READ | {"decoder_channels", "head_width", "head_map"}


def check(protocol: Protocol) -> None:
    """Stop unless the task does all that `protocol` states.

    Raises:
        InputError: a knob that the task does not read, or a value that it does not implement.
    """
    protocol.require(CHOICES, READ)


def warped_masks(masks: Tensor, generator: torch.Generator, settings: Augmentation) -> Tensor:
    """Move masks [B, H, W] as `augment` will move their images, binary again; `generator` stays as it is."""
    again = torch.Generator()
    again.set_state(generator.get_state())
    matrices = sample_affine(len(masks), again, settings).to(masks.device)
    return (warp(masks.unsqueeze(1), matrices).squeeze(1) > 0.5).float()


def evaluate(
    bundle: Bundle,
    data: PreparedDataset,
    protocol: Protocol,
    cells: Sequence[Cell],
    work: Path,
    features: Features | None = None,
) -> Iterator[tuple[Cell, CellResult]]:
    """Yield per cell the true positive, false positive and false negative pixels of every test image.

    Where each finding is segmented, an image has a row per finding.

    Args:
        bundle: encoder.
        data: dataset with masks or boxes; `target` says whether their union is segmented or each finding.
        protocol: knobs; `frozen` decides whether the encoder learns.
        cells: cells to compute.
        work: folder for what survives an interruption.
        features: cached maps, for frozen protocols without augmentation.

    Raises:
        InputError: such a protocol without cached maps.
    """
    _check_target(protocol)
    size = bundle.info.image.input_size
    each = protocol["target"] == PER_FINDING
    masks: Masks = (
        FindingMasks(data, size, protocol["fit"]) if each else data.mask_pixels(size, protocol["fit"])
    )
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
        threshold, _ = job.threshold()
        test = test_images(data, protocol, cell)
        shown = test["row"].to_numpy(np.int64)
        found, wanted = job.probabilities(shown) >= threshold, masks[shown] > 0
        names = masks.findings if isinstance(masks, FindingMasks) else None
        frame = pixel_rows(test, found, wanted, names)
        selected["threshold"] = threshold
        examples = _examples(job, data, test, masks, threshold, protocol["fit"])
        yield cell, CellResult(frame, {**info, "n_test": len(test), "selected": selected}, examples)


def _check_target(protocol: Protocol) -> None:
    """Stop if loss and selection are not those of the target: both need, or forbid, an axis of findings."""
    fixed = OF_TARGET[protocol["target"]]
    protocol.require(fixed, protocol.knobs)


def _examples(
    job: SegmentationJob,
    data: PreparedDataset,
    test: pd.DataFrame,
    masks: Masks,
    threshold: float,
    fit: str,
) -> dict[str, NDArray[Any]]:
    """Return the first test images with a mask, [n, H, W], with the true and the predicted mask.

    Of several findings both are the union.
    """
    rows = test["row"].to_numpy(np.int64)
    rows = rows[marked(masks[rows])][:EXAMPLES]
    if not len(rows):
        return {}
    return {
        "images": np.asarray(data.pixels(masks.shape[-1], fit)[rows]),
        "truth": union(masks[rows] > 0),
        "predicted": union(job.probabilities(rows) >= threshold),
    }


def _sizes(
    data: PreparedDataset,
    protocol: Protocol,
    cell: Cell,
    masks: Masks,
    rows: Rows,
    held_out: Rows,
) -> dict[str, Any]:
    return {
        "split": split_preset(data, protocol, cell),
        "n_train": len(rows),
        "n_pos": int(marked(masks[rows]).sum()),
        "n_validation": len(held_out),
    }
