"""How a trained head learns: optimiser, learning rate and length, each chosen by the protocol's knob."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from prior.errors import InputError
from prior.protocols import Protocol
from prior.training.schedule import learning_rate

Groups = Sequence[dict[str, Any]]


def adamw(groups: Groups, protocol: Protocol) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101): the decay is not part of the gradient."""
    return torch.optim.AdamW(groups, weight_decay=protocol["weight_decay"], fused=True)


def adam(groups: Groups, protocol: Protocol) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba, arXiv 1412.6980): the decay is an L2 penalty."""
    return torch.optim.Adam(groups, weight_decay=protocol["weight_decay"], fused=True)


def amsgrad(groups: Groups, protocol: Protocol) -> torch.optim.Optimizer:
    """Adam with AMSGrad (Reddi et al., ICLR 2018): the second moment never falls."""
    return torch.optim.Adam(groups, weight_decay=protocol["weight_decay"], amsgrad=True, fused=True)


def sgd(groups: Groups, protocol: Protocol) -> torch.optim.Optimizer:
    """Stochastic gradient descent with `momentum` and an L2 penalty."""
    return torch.optim.SGD(groups, momentum=protocol["momentum"], weight_decay=protocol["weight_decay"])


OPTIMISERS: dict[str, Callable[[Groups, Protocol], torch.optim.Optimizer]] = {
    "AdamW": adamw,
    "Adam": adam,
    "Adam with AMSGrad": amsgrad,
    "SGD with momentum": sgd,
}


@dataclass(frozen=True)
class Plan:
    """How long a training may last.

    Attributes:
        steps: number of batches, without an early stop.
        due: number of steps after which validation is checked.
    """

    steps: int
    due: frozenset[int]


def plan(protocol: Protocol, images: int) -> Plan:
    """Return the length that `steps` or `epochs` gives a training on so many images.

    `steps` is a number, or so many `epochs` of the images, held between `least` and `most` steps; validation
    is checked `checks` times, evenly. Under `epochs` it is checked after each, and an epoch has
    floor(images / batch) batches, at least one.

    Raises:
        InputError: the protocol states both or none.
    """
    if ("steps" in protocol.knobs) == ("epochs" in protocol.knobs):
        raise InputError(
            f"prior/protocols/{protocol.family}.yaml: {protocol.task} {protocol.setting} must state either "
            "`steps` (with `checks`) or `epochs`"
        )
    batch = int(protocol["batch"])
    if "epochs" in protocol.knobs:
        each = max(1, images // batch)
        steps = each * int(protocol["epochs"])
        return Plan(steps, frozenset(range(each, steps + 1, each)))
    knob, checks = protocol["steps"], int(protocol["checks"])
    if isinstance(knob, dict):
        knob = min(max(round(knob["epochs"] * images / batch), knob["least"]), knob["most"])
    steps = int(knob)
    return Plan(steps, frozenset(round(steps * (k + 1) / checks) for k in range(checks)))


Schedule = Callable[[Protocol, int, int, float, Sequence[float]], float]
"""Protocol, step, all steps, peak rate and validation losses so far → learning rate of the step."""


def cosine(protocol: Protocol, step: int, steps: int, peak: float, losses: Sequence[float]) -> float:
    """Linear warm-up over a share `warmup` of the steps, then half a cosine towards 0."""
    warmup = math.ceil(protocol["warmup"] * steps)
    return learning_rate(step, steps, warmup, peak, peak / (warmup + 1))


def constant(protocol: Protocol, step: int, steps: int, peak: float, losses: Sequence[float]) -> float:
    """Return the peak at every step."""
    return peak


def stepped(protocol: Protocol, step: int, steps: int, peak: float, losses: Sequence[float]) -> float:
    """Multiply the peak by `factor` after every so many `epochs` of a training that is planned in epochs."""
    knob, each = protocol["step_decay"], steps // int(protocol["epochs"])
    return float(peak * knob["factor"] ** (step // (each * knob["epochs"])))


def plateau(protocol: Protocol, step: int, steps: int, peak: float, losses: Sequence[float]) -> float:
    """Reduce the peak by `factor` whenever the validation loss has not fallen for `patience` checks."""
    knob = protocol["plateau"]
    return float(peak * knob["factor"] ** reductions(losses, knob["patience"]))


def reductions(losses: Sequence[float], patience: int, threshold: float = 1e-4) -> int:
    """Count how often a plateau schedule has reduced the rate after these validation losses.

    A check is bad unless it lies below (1 - threshold) of the best one; more than `patience` bad checks in a
    row reduce once. This is the rule of torch's `ReduceLROnPlateau`.
    """
    best, bad, count = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1 - threshold):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            count, bad = count + 1, 0
    return count


SCHEDULES: dict[str, Schedule] = {
    "cosine": cosine,
    "constant": constant,
    "steps": stepped,
    "plateau": plateau,
}
# Schedules that look at the validation loss, which is computed for them only.
WATCH_LOSS = {"plateau"}
