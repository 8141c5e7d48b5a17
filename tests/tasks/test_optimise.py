"""Optimisers, learning rates, lengths and early stops with known answers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from prior.errors import InputError
from prior.protocols import Protocol
from prior.tasks.finetune import Job, train
from prior.tasks.optimise import OPTIMISERS, SCHEDULES, plan, reductions

KNOBS = {
    "precision": "fp32",
    "optimiser": "SGD with momentum",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "batch": 2,
    "positive_share": None,
    "patience": None,
}


def protocol(**knobs):
    return Protocol(family="toy", task="segmentation", setting="frozen", knobs={**KNOBS, **knobs})


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        # w = 1, gradient 2, rate .1, decay .5: the decay is taken from the weight, or added to the gradient
        ("AdamW", 1 - 0.1 * 0.5 - 0.1, None),
        ("Adam", 1 - 0.1, None),
        ("Adam with AMSGrad", 1 - 0.1, None),
        ("SGD with momentum", 1 - 0.1 * 2.5, 0.75 - 0.1 * (0.9 * 2.5 + 2 + 0.5 * 0.75)),
    ],
)
def test_first_steps_by_hand(name, first, second):
    weight = nn.Parameter(torch.tensor([1.0]))
    knobs = protocol(optimiser=name, weight_decay=0.5, momentum=0.9)
    optimiser = OPTIMISERS[name]([{"params": [weight], "lr": 0.1}], knobs)
    for expected in (first, second):
        weight.grad = torch.tensor([2.0])
        optimiser.step()
        if expected is not None:
            assert weight.item() == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.floats(0.01, 10), max_size=30), st.integers(0, 4))
def test_plateau_reduces_when_torch_does(losses, patience):
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=patience, eps=0)
    for loss in losses:
        reference.step(loss)
    knobs = protocol(plateau={"factor": 0.5, "patience": patience})
    rate = SCHEDULES["plateau"](knobs, 0, 1, 1.0, losses)
    assert rate == pytest.approx(optimiser.param_groups[0]["lr"])
    assert rate == 0.5 ** reductions(losses, patience)


def test_amsgrad_does_not_forget_a_large_gradient():
    moved = {}
    for name in ("Adam", "Adam with AMSGrad"):
        weight = nn.Parameter(torch.zeros(1))
        optimiser = OPTIMISERS[name]([{"params": [weight], "lr": 0.1}], protocol(weight_decay=0.0))
        for gradient in [100.0] + [0.01] * 400:
            before = weight.item()
            weight.grad = torch.tensor([gradient])
            optimiser.step()
        moved[name] = abs(weight.item() - before)
    assert moved["Adam with AMSGrad"] / moved["Adam"] == pytest.approx(0.999**200, rel=1e-2)


def test_steps_fall_with_epochs():
    knobs = protocol(epochs=6, step_decay={"epochs": 2, "factor": 0.1})
    rates = [SCHEDULES["steps"](knobs, step, 18, 1.0, []) for step in range(18)]
    assert rates == pytest.approx([1.0] * 6 + [0.1] * 6 + [0.01] * 6)


def test_cosine_warms_up_and_constant_stays():
    rates = [SCHEDULES["cosine"](protocol(warmup=0.2), step, 10, 1.0, []) for step in range(10)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates[6] == pytest.approx(0.5)
    assert [SCHEDULES["constant"](protocol(), step, 10, 0.3, []) for step in (0, 9)] == [0.3, 0.3]


@pytest.mark.parametrize(
    ("knobs", "steps", "due"),
    [
        ({"steps": 7, "checks": 2}, 7, {4, 7}),
        ({"epochs": 3}, 15, {5, 10, 15}),
        ({"epochs": 2, "batch": 64}, 2, {1, 2}),
        ({"steps": {"epochs": 4, "least": 3, "most": 90}, "checks": 1}, 20, {20}),
        ({"steps": {"epochs": 4, "least": 30, "most": 90}, "checks": 1}, 30, {30}),
        ({"steps": {"epochs": 4, "least": 3, "most": 9}, "checks": 1}, 9, {9}),
    ],
)
def test_length_by_hand(knobs, steps, due):
    found = plan(protocol(**knobs), 10)
    assert (found.steps, set(found.due)) == (steps, due)


@pytest.mark.parametrize("knobs", [{}, {"steps": 2, "checks": 1, "epochs": 1}])
def test_length_is_stated_once(knobs):
    with pytest.raises(InputError, match="segmentation frozen must state either `steps`"):
        plan(protocol(**knobs), 10)


class Scripted(Job):
    """One weight that falls by the rate at each step; validation says what the script says."""

    def __init__(self, scores, losses=(), held=None):
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.groups = [{"params": list(self.model.parameters()), "lr": 1.0}]
        if held:
            self.groups[0]["held"] = held
        self.positive = np.zeros(4, dtype=bool)
        self.scores, self.losses = iter(scores), iter(losses)
        self.weights = []

    def loss(self, chosen, generator):
        self.weights.append(self.model.weight.item())
        return self.model.weight.sum()

    def validate(self):
        return next(self.scores)

    def validation_loss(self):
        return next(self.losses)


def test_training_stops_after_patience_checks_and_keeps_the_best():
    job = Scripted([0.1, 0.5, math.nan, 0.5, 0.4])
    trained = train(lambda: job, protocol(epochs=50, patience=2), seed=0)
    assert len(job.weights) == 10
    assert (trained.score, trained.step) == (0.5, 4)
    assert job.model.weight.item() == -4


def test_training_without_patience_takes_all_steps():
    job = Scripted([0.5, 0.1, 0.1])
    assert train(lambda: job, protocol(epochs=3), seed=0).step == 2
    assert len(job.weights) == 6


def test_plateau_watches_the_validation_loss():
    knobs = protocol(epochs=4, schedule="plateau", plateau={"factor": 0.5, "patience": 0})
    job = Scripted([0.1, 0.2, 0.3, 0.4], [1.0, 1.0, 0.5, 0.5])
    train(lambda: job, knobs, seed=0)
    assert job.weights == [0, -1, -2, -3, -4, -4.5, -5, -5.5]
    assert job.model.weight.item() == -6


def test_a_held_group_starts_with_its_own_rate():
    job = Scripted([0.1, 0.2], held=(3, 0.0))
    train(lambda: job, protocol(epochs=2), seed=0)
    assert job.weights == [0, 0, 0, 0]
    assert job.model.weight.item() == -1
