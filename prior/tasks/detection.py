"""Object detection, class-agnostic: torchvision's FCOS on a small pyramid, frozen or fine-tuned."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
from prior.tasks.dense import DenseSource, dense_source, in_batches
from prior.tasks.detector import Detector
from prior.tasks.features import Features
from prior.tasks.finetune import Job, search
from prior.tasks.maps import Rows
from prior.training.precision import autocast

BOX = ["x_min", "y_min", "x_max", "y_max"]
Boxes = dict[str, NDArray[np.float32]]


def boxes_by_image(data: PreparedDataset, size: int, fit: str) -> Boxes:
    """Return image_id → boxes [n, 4] (x_min, y_min, x_max, y_max) in store pixels, clipped to the image."""
    table = data.store_boxes(size, fit)
    table[BOX] = table[BOX].clip(0, size)
    table = table[(table["x_max"] > table["x_min"]) & (table["y_max"] > table["y_min"])]
    return {str(key): group[BOX].to_numpy(np.float32) for key, group in table.groupby("image_id")}


class DetectionJob(Job):
    """FCOS on frozen or trainable maps.

    Args:
        source: maps.
        boxes: boxes by image.
        train: training images.
        held_out: validation images.
        rate: searched learning rate.
        protocol: knobs.
    """

    def __init__(
        self,
        source: DenseSource,
        boxes: Boxes,
        train: pd.DataFrame,
        held_out: pd.DataFrame,
        rate: float,
        protocol: Protocol,
    ) -> None:
        self.boxes, self.train_images, self.held_out = boxes, train, held_out
        self.device, self.precision, self.size = source.device, source.precision, source.size
        self.positive = train["image_id"].isin(list(boxes)).to_numpy(dtype=bool)
        detector = Detector(source.maps.channels, source.maps.strides, source.size, protocol["head"])
        self.maps, self.detector = source.maps, detector.to(self.device)
        self.model = nn.ModuleList([self.maps, self.detector])
        self.groups = source.groups(detector, rate, protocol)
        self.batch = int(protocol["evaluation_batch"])

    def targets(self, images: pd.DataFrame) -> list[dict[str, Tensor]]:
        """Return torchvision targets; images without boxes are negatives."""
        none = np.zeros((0, 4), dtype=np.float32)
        found = [torch.from_numpy(self.boxes.get(str(i), none)).to(self.device) for i in images["image_id"]]
        return [
            {"boxes": b, "labels": torch.zeros(len(b), dtype=torch.int64, device=self.device)} for b in found
        ]

    def total(self, images: pd.DataFrame) -> Tensor:
        """Return the sum of FCOS's three losses over a batch of images."""
        maps = self.maps(images["row"].to_numpy(np.int64))
        losses = self.detector.losses(maps, self.targets(images))
        return torch.stack(list(losses.values())).sum()

    def loss(self, chosen: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """Return the loss of training images `chosen`."""
        return self.total(self.train_images.iloc[chosen])

    def validate(self) -> float:
        """Return minus the mean validation loss per batch: mAP would be 0 at most checks of a small cell."""
        total = 0.0
        for start in range(0, len(self.held_out), self.batch):
            part = self.held_out.iloc[start : start + self.batch]
            with autocast(self.precision, self.device):
                total += float(self.total(part)) * len(part)
        return -total / len(self.held_out) if len(self.held_out) else float("nan")

    def detect(self, rows: Rows) -> list[dict[str, Tensor]]:
        """Return boxes and scores per store row."""
        parts = in_batches(
            rows, self.batch, self.precision, self.device, lambda part: self.detector.detect(self.maps(part))
        )
        return [found for part in parts for found in part]


def evaluate(
    bundle: Bundle,
    data: PreparedDataset,
    protocol: Protocol,
    cells: Sequence[Cell],
    work: Path,
    features: Features | None = None,
) -> Iterator[tuple[Cell, CellResult]]:
    """Yield per cell every predicted box, every true box and every test image, in store pixels.

    Args:
        bundle: encoder.
        data: dataset with boxes; labels of boxes are ignored.
        protocol: knobs; `frozen` decides between cached maps and an encoder that learns.
        cells: cells to compute.
        work: folder for what survives an interruption.
        features: cached maps, for frozen protocols.

    Raises:
        InputError: a frozen protocol without cached maps.
    """
    boxes = boxes_by_image(data, bundle.info.image.input_size, protocol["fit"])

    def build(of: Cell, rate: float) -> DetectionJob:
        source = dense_source(bundle, data, protocol, features, min(protocol["head"]["strides"]))
        train, held_out = training_images(data, protocol, of), validation_images(data, protocol, of)
        return DetectionJob(source, boxes, train, held_out, rate, protocol)

    for cell in cells:
        train = training_images(data, protocol, cell)
        n_pos = int(train["image_id"].isin(list(boxes)).sum())
        info = {
            "split": split_preset(data, protocol, cell),
            "n_train": len(train),
            "n_pos": n_pos,
            "n_validation": len(validation_images(data, protocol, cell)),
        }
        reason = refusal(protocol, len(train), n_pos)
        if reason:
            yield cell, omitted(reason, **info)
            continue
        job, selected = search(build, data, protocol, cell, work)
        test = test_images(data, protocol, cell)
        frame = prediction_rows(test, boxes, job.detect(test["row"].to_numpy(np.int64)))
        yield cell, CellResult(frame, {**info, "n_test": len(test), "selected": selected})


def prediction_rows(test: pd.DataFrame, boxes: Boxes, found: list[dict[str, Tensor]]) -> pd.DataFrame:
    """Return rows of kind `image` (every test image), `truth` and `prediction`."""
    keys = test[["image_id", "patient_id"]]
    true = [boxes.get(str(i), np.zeros((0, 4), dtype=np.float32)) for i in test["image_id"]]
    predicted = [f["boxes"].float().cpu().numpy() for f in found]
    scores = np.concatenate([f["scores"].float().cpu().numpy() for f in found] or [np.zeros(0, np.float32)])
    parts = [
        keys.assign(kind="image", score=np.nan, **dict.fromkeys(BOX, np.nan)),
        _kind(keys, "truth", true, np.full(sum(map(len, true)), np.nan, dtype=np.float32)),
        _kind(keys, "prediction", predicted, scores),
    ]
    return pd.concat(parts, ignore_index=True).astype({"score": np.float32} | dict.fromkeys(BOX, np.float32))


def _kind(
    keys: pd.DataFrame, kind: str, boxes: list[NDArray[np.float32]], scores: NDArray[np.float32]
) -> pd.DataFrame:
    owner = np.repeat(np.arange(len(keys)), [len(b) for b in boxes])
    corners = np.concatenate([*boxes, np.zeros((0, 4), dtype=np.float32)])
    return keys.iloc[owner].assign(
        kind=kind, score=scores, **{name: corners[:, k] for k, name in enumerate(BOX)}
    )
