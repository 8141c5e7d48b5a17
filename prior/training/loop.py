"""The training loop: stages, steps, checkpoints; it knows batches and named losses, and nothing of files."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from prior.data.files import atomic_path
from prior.errors import InputError
from prior.methods.base import Batch, Method, Stage
from prior.objectives.gather import batch_rows, gather
from prior.provenance import peak_memory_mib
from prior.training.checkpoint import load_checkpoint, restore_rng, save_checkpoint
from prior.training.distributed import average, average_gradients, is_first
from prior.training.precision import LAYOUT, autocast
from prior.training.schedule import learning_rate
from prior.training.synced_norm import synced_norm

LOG = logging.getLogger(__name__)

LogRow = dict[str, float | int | str]
BatchesOfEpoch = Callable[[int], Iterable[Batch]]


@dataclass
class Training:
    """One training; where there are several processes, each gets its part of every batch.

    Attributes:
        plan: stages with their number of epochs.
        batches: batches of an epoch, or this process's parts of them; epochs are counted through all stages.
        steps: batches of an epoch.
        weight_decay: AdamW's; not applied to biases and normalisation weights.
        precision: number format of the forward pass.
        device: where to train.
        work: folder of the resume file.
        rows: one per finished step, for `training.csv`.
        speeds: one per finished step, for `throughput.csv`.
        samples: image–report presentations since this start, of all processes.
        seconds: spent in steps since this start.
    """

    plan: list[tuple[Stage, int]]
    batches: BatchesOfEpoch
    steps: int
    weight_decay: float
    precision: Literal["bf16", "fp32"]
    device: torch.device
    work: Path
    rows: list[LogRow] = field(default_factory=list)
    speeds: list[LogRow] = field(default_factory=list)
    samples: int = 0
    seconds: float = 0.0

    @property
    def checkpoint(self) -> Path:
        """The resume file."""
        return self.work / "checkpoint.pt"

    def run(self, method: Method) -> None:
        """Train `method` in place, or go on where an earlier process stopped.

        Raises:
            InputError: a loss is not finite; the batch is kept beside the resume file.
        """
        method.to(self.device)
        method.to(memory_format=LAYOUT)
        method.train()
        saved = load_checkpoint(self.checkpoint)
        first = 0
        if saved is not None:
            method.load_state_dict(saved["module"])
            self.rows, self.speeds = saved["progress"]["rows"], saved["progress"]["speeds"]
            first = saved["progress"]["epoch"]
            LOG.info("resuming after epoch %d", first)
        start = 0
        for stage, epochs in self.plan:
            if first < start + epochs:
                optimizer = make_optimizer(method, self.weight_decay)
                if saved is not None and first > start:
                    optimizer.load_state_dict(saved["optimizer"])
                if saved is not None and first >= start:
                    restore_rng(saved["rng"])
                for epoch in range(max(start, first), start + epochs):
                    self._epoch(method, optimizer, stage, epochs, epoch, epoch - start)
                    progress = {"epoch": epoch + 1, "rows": self.rows, "speeds": self.speeds}
                    save_checkpoint(self.checkpoint, method, optimizer, progress)
            start += epochs

    def _epoch(
        self,
        method: Method,
        optimizer: torch.optim.Optimizer,
        stage: Stage,
        epochs: int,
        epoch: int,
        epoch_of_stage: int,
    ) -> None:
        began = before = time.perf_counter()
        method.epoch = epoch
        done = len(self.rows)
        samples = 0
        warmup = round(stage.warmup_epochs * epochs / stage.epochs * self.steps)
        for index, batch in enumerate(self.batches(epoch)):
            step = epoch_of_stage * self.steps + index
            rate = learning_rate(step, epochs * self.steps, warmup, stage.learning_rate, stage.warmup_from)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses = self._step(method, optimizer, stage, batch)
            where: LogRow = {"stage": stage.name, "epoch": epoch, "step": len(self.rows)}
            self.rows.append({**where, "learning_rate": rate, **losses})
            images = batch_rows(len(batch.images), batch.images.device)
            now = time.perf_counter()
            self._measure(images / (now - before))
            samples, before = samples + images, now
        seconds = time.perf_counter() - began
        self.samples += samples
        self.seconds += seconds
        means = _means(self.rows[done:])
        LOG.info("%s, epoch %d: %s; %.1f images/s", stage.name, epoch, means, samples / seconds)

    def _measure(self, images_per_second: float) -> None:
        speed = round(images_per_second, 2)
        step: LogRow = {"step": len(self.speeds), "images_per_second": speed}
        self.speeds.append({**step, "peak_memory_mib": peak_memory_mib(self.device.type)})

    def _step(
        self, method: Method, optimizer: torch.optim.Optimizer, stage: Stage, batch: Batch
    ) -> dict[str, float]:
        batch = batch.to(self.device)
        batch.images = batch.images.contiguous(memory_format=LAYOUT)
        with autocast(self.precision, self.device), synced_norm():
            losses = method.losses(batch, stage)
        terms = torch.stack([loss.float() for loss in losses.values()])
        total = terms.sum()
        # One transfer for all values: each would make a GPU wait.
        watched = [value.float() for value in method.watched.values()]
        shown = average(torch.stack([total, *terms, *watched])).tolist()
        values = dict(zip(["total", *losses, *method.watched], shown, strict=True))
        if not math.isfinite(values["total"]):
            self._stop(batch, values)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        average_gradients([p for group in optimizer.param_groups for p in group["params"]])
        optimizer.step()
        return values

    def _stop(self, batch: Batch, values: dict[str, float]) -> None:
        path = self.work / "not_finite.safetensors"
        tensors: dict[str, Tensor] = {
            n: gather(t.detach())[0].cpu().contiguous().clone() for n, t in batch.tensors().items()
        }
        if is_first():
            with atomic_path(path) as temporary:
                save_file(tensors, temporary)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise InputError(
            f"training stopped at step {len(self.rows)}: the loss is not finite ({shown}); the batch is in "
            f"{path}; lower the learning rate of the method or set pretraining.precision to fp32"
        )


def make_optimizer(method: Method, weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW over the trainable weights; vectors (biases, normalisation) are not decayed."""
    trainable = [p for p in method.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, fused=True)


def _means(rows: list[LogRow]) -> str:
    names = [name for name in rows[0] if name not in ("stage", "epoch", "step", "learning_rate")]
    return ", ".join(f"{n} {sum(float(row[n]) for row in rows) / len(rows):.4f}" for n in names)
