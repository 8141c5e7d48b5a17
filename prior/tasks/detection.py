"""Object detection, class-agnostic: FCOS or a head of YOLOv3's form, frozen or fine-tuned."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.metrics.detection import AVERAGES, FROC, IMAGE_SETS, SHAPE_FROC, detection_metrics
from prior.protocols import Protocol
from prior.tasks import dense
from prior.tasks.base import (
    IMAGES,
    POSITIVES_ONLY,
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
from prior.tasks.shapes import with_shapes
from prior.tasks.yolo import YoloDetector
from prior.training.precision import autocast

# Channels and strides of the maps, side of the image and the knob `head` → detector.
HEADS: dict[str, Callable[[Sequence[int], Sequence[int], int, dict[str, Any]], Detector | YoloDetector]] = {
    "fcos": Detector,
    "yolo": YoloDetector,
}
# What the other knobs must say beside a head and an image set, which decide it.
OF_HEAD: dict[str, dict[str, Collection[Any]]] = {
    "fcos": {"loss": ["focal + GIoU + centerness"], "threshold": ["none"]},
    "yolo": {
        "loss": ["cross-entropy + squared error of every level"],
        "threshold": ["confidence of the head"],
    },
}
NEGATIVES = {"all": "images without boxes", POSITIVES_ONLY: "none"}
BOX = ["x_min", "y_min", "x_max", "y_max"]
Boxes = dict[str, NDArray[np.float32]]


def boxes_by_image(data: PreparedDataset, size: int, fit: str) -> Boxes:
    """Return image_id → boxes [n, 4] (x_min, y_min, x_max, y_max) in store pixels, clipped to the image."""
    table = data.store_boxes(size, fit)
    table[BOX] = table[BOX].clip(0, size)
    table = table[(table["x_max"] > table["x_min"]) & (table["y_max"] > table["y_min"])]
    return {str(key): group[BOX].to_numpy(np.float32) for key, group in table.groupby("image_id")}


class DetectionJob(Job):
    """A detector on frozen or trainable maps.

    Args:
        source: maps.
        boxes: boxes by image.
        train: training images.
        held_out: validation images.
        rate: searched learning rate.
        protocol: knobs.
    """

    head: Detector | YoloDetector

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
        build = HEADS[protocol["head_name"]]
        detector = build(source.maps.channels, source.maps.strides, source.size, protocol["head"])
        self.maps, self.head = source.maps, detector.to(self.device)
        self.model = nn.ModuleList([self.maps, self.head])
        self.groups = source.groups(detector, rate, protocol)
        self.batch = int(protocol["evaluation_batch"])
        self.select = SELECTION[protocol["selection"]]

    def targets(self, images: pd.DataFrame) -> list[dict[str, Tensor]]:
        """Return torchvision targets; images without boxes are negatives."""
        none = np.zeros((0, 4), dtype=np.float32)
        found = [torch.from_numpy(self.boxes.get(str(i), none)).to(self.device) for i in images["image_id"]]
        return [
            {"boxes": b, "labels": torch.zeros(len(b), dtype=torch.int64, device=self.device)} for b in found
        ]

    def total(self, images: pd.DataFrame) -> Tensor:
        """Return the sum of the detector's losses over a batch of images."""
        maps = self.maps(images["row"].to_numpy(np.int64))
        losses = self.head.losses(maps, self.targets(images))
        return torch.stack(list(losses.values())).sum()

    def loss(self, chosen: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """Return the loss of training images `chosen`."""
        return self.total(self.train_images.iloc[chosen])

    def validate(self) -> float:
        """Return what the protocol selects by."""
        return self.select(self)

    def validation_precision(self, metric: str) -> float:
        """Return a mean average precision, or FROC, of the validation images, NaN without a true box."""
        if not len(self.held_out):
            return float("nan")
        found = self.detect(self.held_out["row"].to_numpy(np.int64))
        metrics = detection_metrics(prediction_rows(self.held_out, self.boxes, found), [metric])
        return float(metrics.compute(np.ones((1, len(self.held_out))))[metric, ""][0])

    def validation_loss(self) -> float:
        """Return the mean validation loss per image, in evaluation batches."""
        total = 0.0
        for start in range(0, len(self.held_out), self.batch):
            part = self.held_out.iloc[start : start + self.batch]
            with autocast(self.precision, self.device):
                total += float(self.total(part)) * len(part)
        return total / len(self.held_out) if len(self.held_out) else float("nan")

    def detect(self, rows: Rows) -> list[dict[str, Tensor]]:
        """Return boxes and scores per store row."""
        parts = in_batches(
            rows, self.batch, self.precision, self.device, lambda part: self.head.detect(self.maps(part))
        )
        return [found for part in parts for found in part]


SELECTION: dict[str, Callable[[DetectionJob], float]] = {
    "validation loss": lambda job: -job.validation_loss(),
    "validation map_40_75": lambda job: job.validation_precision("map_40_75"),
    "validation froc": lambda job: job.validation_precision("froc"),
    "validation map_40_75_mgca": lambda job: job.validation_precision("map_40_75_mgca"),
}
CHOICES: dict[str, Collection[Any]] = {
    **dense.CHOICES,
    "images": IMAGES,
    "head_name": HEADS,
    "loss": [loss for of in OF_HEAD.values() for loss in of["loss"]],
    "negatives": NEGATIVES.values(),
    "classes": [1],
    "threshold": [threshold for of in OF_HEAD.values() for threshold in of["threshold"]],
    "selection": SELECTION,
    "augmentation": [{}],
    "metrics": [*AVERAGES, *IMAGE_SETS, *FROC],
}
READ = dense.READ | {"head"}


def check(protocol: Protocol) -> None:
    """Stop unless the task does all that `protocol` states.

    Raises:
        InputError: a knob that the task does not read, or a value that it does not implement with the head
            and the images of this setting.
    """
    protocol.require(CHOICES, READ)
    fixed = {**OF_HEAD[protocol["head_name"]], "negatives": [NEGATIVES[protocol["images"]]]}
    protocol.require({**CHOICES, **fixed}, READ)


def evaluate(
    bundle: Bundle,
    data: PreparedDataset,
    protocol: Protocol,
    cells: Sequence[Cell],
    work: Path,
    features: Features | None = None,
) -> Iterator[tuple[Cell, CellResult]]:
    """Yield per cell every predicted box, every true box and every test image, in store pixels.

    Where the protocol asks for FROC of shapes, with what `with_shapes` adds.

    Args:
        bundle: encoder.
        data: dataset with boxes; labels of boxes are ignored.
        protocol: knobs; `frozen` decides whether the encoder learns.
        cells: cells to compute.
        work: folder for what survives an interruption.
        features: cached maps, for frozen protocols.

    Raises:
        InputError: a frozen protocol without cached maps, or knobs that do not fit the head.
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
        if SHAPE_FROC in protocol["metrics"]:
            frame = with_shapes(frame, data, bundle.info.image.input_size, protocol["fit"])
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
