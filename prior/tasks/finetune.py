"""The trainer that every trained head shares: validation is checked now and then and the best state kept."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prior.data.files import read_json, write_json
from prior.data.prepared import PreparedDataset
from prior.protocols import Protocol
from prior.tasks.base import Cell, cell_seed, selection_cell
from prior.tasks.optimise import OPTIMISERS, SCHEDULES, WATCH_LOSS, plan
from prior.training.precision import autocast, choose_device, resolve_precision

log = logging.getLogger(__name__)


class Job(ABC):
    """One head, perhaps with its encoder, and the images it learns from.

    Attributes:
        model: everything that trains; its best state is kept.
        head: the part of `model` that is no encoder.
        groups: parameters with their peak learning rate (`lr`); `held` gives steps and rate of a start before
            the schedule.
        positive: [n] whether a training image is positive, for balanced batches.
    """

    model: nn.Module
    head: nn.Module
    groups: Sequence[dict[str, Any]]
    positive: NDArray[np.bool_]

    @abstractmethod
    def loss(self, chosen: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """Return the scalar loss of training images `chosen` (positions, not store rows)."""

    @abstractmethod
    def validate(self) -> float:
        """Return the validation score, larger is better; NaN if it is undefined."""

    def validation_loss(self) -> float:
        """Return the mean loss over the validation images, NaN without any; some schedules ask for it."""
        raise NotImplementedError


J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Trained(Generic[J]):
    """A job that holds its best weights.

    Attributes:
        job: the job.
        score: best validation score; NaN if no check was defined, and then the last weights were kept.
        step: steps taken when the best weights were found.
    """

    job: J
    score: float
    step: int


def batches(
    positive: NDArray[np.bool_], size: int, steps: int, share: float | None, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield `steps` batches of positions; each class is walked in shuffled epochs.

    Args:
        positive: [n] class of each image.
        size: images per batch.
        steps: number of batches.
        share: share of positives per batch; None takes images as they come.
        rng: source of the order.
    """
    if share is None or not positive.any() or positive.all():
        streams = [(_shuffled(np.arange(len(positive)), rng), size)]
    else:
        wanted = round(share * size)
        streams = [
            (_shuffled(np.flatnonzero(positive), rng), wanted),
            (_shuffled(np.flatnonzero(~positive), rng), size - wanted),
        ]
    for _ in range(steps):
        yield np.array([next(stream) for stream, count in streams for _ in range(count)], dtype=np.int64)


def _shuffled(items: NDArray[np.int64], rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(items).tolist()


def train(build: Callable[[], J], protocol: Protocol, seed: int) -> Trained[J]:
    """Build a job and train it; everything random follows from `seed`.

    Under `patience` it ends after so many checks without a better score; undefined scores do not count.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    device = choose_device()
    precision = resolve_precision(protocol["precision"], device)
    schedule, watched = SCHEDULES[protocol["schedule"]], protocol["schedule"] in WATCH_LOSS
    patience = protocol["patience"] or math.inf
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        job = build()
        length, peaks = plan(protocol, len(job.positive)), [group["lr"] for group in job.groups]
        optimiser = OPTIMISERS[protocol["optimiser"]](job.groups, protocol)
        best, waited = Trained(job, math.nan, length.steps), 0
        kept: dict[str, Tensor] | None = None
        losses: list[float] = []
        order = batches(job.positive, protocol["batch"], length.steps, protocol["positive_share"], rng)
        job.model.train()
        for step, chosen in enumerate(order):
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                held, rate = group.get("held", (0, 0.0))
                group["lr"] = rate if step < held else schedule(protocol, step, length.steps, peak, losses)
            with autocast(precision, device):
                loss = job.loss(chosen, generator)
            _step(loss, optimiser, step)
            if step + 1 not in length.due:
                continue
            score, validation_loss = _check(job, watched)
            losses.append(validation_loss)
            if not math.isnan(score):
                waited += 1
                if not score <= best.score:
                    best, waited = Trained(job, score, step + 1), 0
                    kept = deepcopy(job.model.state_dict())
            if waited >= patience:
                break
        if kept is not None:
            job.model.load_state_dict(kept)
    job.model.eval()
    return best


def _step(loss: Tensor, optimiser: torch.optim.Optimizer, step: int) -> None:
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss of step {step + 1} is {loss.item()}; lower the learning rate")
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimiser.step()


def _check(job: Job, watched: bool) -> tuple[float, float]:
    """Return the validation score, and the validation loss if it is watched (else NaN)."""
    job.model.eval()
    with torch.inference_mode():
        score, loss = job.validate(), job.validation_loss() if watched else math.nan
    job.model.train()
    return score, loss


def search(
    build: Callable[[Cell, float], J], data: PreparedDataset, protocol: Protocol, cell: Cell, work: Path
) -> tuple[J, dict[str, Any]]:
    """Train the job of a cell with the learning rate that won on the first seed.

    All candidates are trained once per fraction and fold, on the first seed (`selection_cell`); the choice is
    kept in `work` and reused by the other seeds, so every bundle has the same number of trials.

    Args:
        build: makes the job of a cell for a learning rate.
        data: dataset, for the seed.
        protocol: knobs; `learning_rates` is the grid.
        cell: the cell to train.
        work: folder of the job's unfinished work.

    Returns:
        The trained job and what was selected.
    """

    def trained(of: Cell, rate: float) -> Trained[J]:
        return train(lambda: build(of, rate), protocol, cell_seed(data, protocol, of))

    grid = sorted(float(rate) for rate in protocol["learning_rates"])
    first = selection_cell(data, protocol, cell)
    path = work / f"selection-{first.name}.json"
    result: Trained[J] | None = None
    if not path.exists():
        tried = {rate: trained(first, rate) for rate in grid}
        rate = max(grid, key=lambda r: -math.inf if math.isnan(tried[r].score) else tried[r].score)
        scores = {f"{r:g}": None if math.isnan(t.score) else t.score for r, t in tried.items()}
        write_json(path, {"learning_rate": rate, "scores": scores})
        result = tried[rate] if cell == first else None
        log.info("%s: learning rate %g of %s", cell.name, rate, grid)
    chosen = read_json(path)
    rate = float(chosen["learning_rate"])
    result = result or trained(cell, rate)
    selected = {
        "learning_rate": rate,
        "learning_rate_scores": chosen["scores"],
        "at_grid_edge": len(grid) > 1 and rate in (grid[0], grid[-1]),
        "step": result.step,
        "validation": None if math.isnan(result.score) else result.score,
        "head_params": sum(weights.numel() for weights in result.job.head.parameters()),
    }
    return result.job, selected
