"""A linear head on the mean of an encoder's last map, trained in steps, alone or with the encoder."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from prior.data.augment import augment
from prior.protocols import Protocol
from prior.tasks.dense import DenseSource, augmentation, in_batches, to_tensor
from prior.tasks.finetune import Job
from prior.tasks.linear_probe import auroc, both_classes
from prior.tasks.maps import Rows

Floats = NDArray[np.float64]


def known_cross_entropy(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the known labels; all arguments are [B, findings]."""
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def exclusive_cross_entropy(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Return the mean cross-entropy of the images that have exactly one class; arguments as above."""
    single = (known.all(dim=1)) & (target.sum(dim=1) == 1)
    losses = F.cross_entropy(logits, target.argmax(dim=1), reduction="none")
    return (losses * single).sum() / single.sum().clamp(min=1)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)


EXCLUSIVE = "softmax cross-entropy"
# Loss of logits, labels and which are known, and how logits become probabilities.
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "binary cross-entropy": (known_cross_entropy, torch.sigmoid),
    EXCLUSIVE: (exclusive_cross_entropy, _softmax),
}


class ClassificationJob(Job):
    """Linear head on the mean of the encoder's last map, trained alone or with the encoder.

    Under `standardise`, features are standardised as they are before training, by so many training images,
    since their scale differs between encoders by more than any one learning rate of the head can serve.

    Args:
        source: maps.
        train: store rows [n] and labels [n, findings] of the training images.
        held_out: the same of the validation images.
        rate: searched learning rate.
        protocol: knobs.
    """

    def __init__(
        self,
        source: DenseSource,
        train: tuple[Rows, Floats],
        held_out: tuple[Rows, Floats],
        rate: float,
        protocol: Protocol,
    ) -> None:
        self.train_images, self.held_out = train, held_out
        self.device, self.precision = source.device, source.precision
        self.positive = (train[1] == 1).any(axis=1)
        head = nn.Linear(source.maps.channels[-1], train[1].shape[1])
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.maps, self.head = source.maps, head.to(self.device)
        self.model = nn.ModuleList([self.maps, self.head])
        self.groups = source.groups(head, rate, protocol)
        self.augmentation = augmentation(protocol)
        self.label_loss, self.activation = LOSSES[protocol["loss"]]
        self.select = SELECTION[protocol["selection"]]
        self.batch = int(protocol["evaluation_batch"])
        self.centre, self.spread = torch.zeros((), device=self.device), torch.ones((), device=self.device)
        if protocol["standardise"]:
            self._standardise(train[0][: protocol["standardise"]])

    def _standardise(self, rows: Rows) -> None:
        self.maps.eval()
        first = in_batches(rows, self.batch, self.precision, self.device, self._pooled)
        features = torch.cat(list(first)).clone()
        self.centre, self.spread = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)

    def loss(self, chosen: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """Return the loss of training images `chosen`, over the labels that are known."""
        rows, labels = self.train_images[0][chosen], self.train_images[1][chosen]
        settings = self.augmentation
        change = None if settings is None else lambda images: augment(images, generator, settings)
        return self._loss(self.maps(rows, change)[-1].mean(dim=(2, 3)), labels)

    def _loss(self, pooled: Tensor, labels: Floats) -> Tensor:
        known = ~np.isnan(labels)
        target, weight = to_tensor(np.nan_to_num(labels), self.device), to_tensor(known, self.device)
        return self.label_loss(self._logits(pooled), target, weight)

    def probabilities(self, rows: Rows) -> Floats:
        """Return probabilities [n, findings] of store rows [n]."""
        parts = in_batches(
            rows,
            self.batch,
            self.precision,
            self.device,
            self._probabilities,
        )
        return np.concatenate([part.cpu().numpy().astype(np.float64) for part in parts])

    def _probabilities(self, rows: Rows) -> Tensor:
        return self.activation(self._logits(self._pooled(rows)))

    def _pooled(self, rows: Rows) -> Tensor:
        pooled: Tensor = self.maps(rows)[-1].mean(dim=(2, 3))
        return pooled.float()

    def _logits(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.head((pooled - self.centre) / self.spread)
        return logits.float()

    def validate(self) -> float:
        """Return what the protocol selects by."""
        return self.select(self)

    def validation_loss(self) -> float:
        """Return the loss of the validation images, averaged over images in evaluation batches."""
        rows, labels = self.held_out
        place = np.arange(len(rows))

        def weighted(part: Rows) -> float:
            return float(self._loss(self._pooled(rows[part]), labels[part])) * len(part)

        parts = in_batches(place, self.batch, self.precision, self.device, weighted)
        return sum(parts) / len(rows) if len(rows) else float("nan")

    def validation_auroc(self) -> float:
        """Return the macro AUROC over the findings that have both values in validation."""
        rows, labels = self.held_out
        scores = self.probabilities(rows)
        values = []
        for k in range(labels.shape[1]):
            known = ~np.isnan(labels[:, k])
            if both_classes(labels[:, k]):
                values.append(auroc(scores[known, k], labels[known, k]))
        return float(np.mean(values)) if values else float("nan")


SELECTION: dict[str, Callable[[ClassificationJob], float]] = {
    "macro AUROC": lambda job: job.validation_auroc(),
    "validation loss": lambda job: -job.validation_loss(),
}
