"""The simulated hospital: patients, their studies over time, and what is seen and written in each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from prior.phantom.anatomy import Body, Pose, draw_body, draw_pose
from prior.phantom.findings import Finding, draw_findings, follow_up, rare_findings

CODES = {"mimic_cxr": 1, "chexpert": 2, "rsna": 3, "siim": 4, "object_cxr": 5}


@dataclass(frozen=True)
class Study:
    """One visit: who, when, how it was exposed, and what is there."""

    index: int
    patient: int
    order: int
    body: Body
    pose: Pose
    findings: list[Finding]
    before: list[Finding]
    days: int


def generator(seed: int, dataset: str, *key: int) -> np.random.Generator:
    """The random stream of one thing of one dataset, independent of the order in which things are made."""
    return np.random.default_rng([seed, CODES[dataset], *key])


def plan(dataset: str, count: int, seed: int) -> Iterator[Study]:
    """Yield `count` studies, patient after patient (1 to 4 studies each).

    Args:
        dataset: key of CODES; decides the case mix.
        count: studies wanted.
        seed: of the whole simulation.
    """
    index, patient = 0, 0
    while index < count:
        rng = generator(seed, dataset, 0, patient)
        sex, age = str(rng.choice(["M", "F"])), int(np.clip(rng.normal(57, 17), 18, 90))
        body = draw_body(rng, sex, age)
        before: list[Finding] = []
        rare_before: list[Finding] = []
        days = int(rng.integers(0, 365))
        for order in range(1 + int(rng.choice(4, p=[0.55, 0.25, 0.13, 0.07]))):
            findings = draw_findings(rng, dataset, age)
            if order and rng.random() < 0.6:
                findings = follow_up(rng, before, findings)
            pose = draw_pose(rng, "AP" if rng.random() < _bedside_share(findings) else "PA")
            rare = rare_findings(
                generator(seed, dataset, 4, patient, order), dataset, findings, rare_before, order
            )
            if index < count:
                yield Study(index, patient, order, body, pose, findings + rare, before + rare_before, days)
            index, before, rare_before = index + 1, findings, rare
            days += int(rng.integers(1, 300))
        patient += 1


def _bedside_share(findings: list[Finding]) -> float:
    """Share of bedside films; little higher in the sick, so that the view alone predicts next to nothing."""
    return 0.38 + (0.08 if findings else 0.0)
