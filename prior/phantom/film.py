"""One study in, one film out: anatomy, findings and projection in their physical order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prior.phantom.anatomy import Body, Pose
from prior.phantom.devices import ForeignObject, add_device, add_foreign_objects
from prior.phantom.effects import Region, apply, rib_break, sides_of, sign_of
from prior.phantom.findings import KINDS, Finding
from prior.phantom.radiograph import Scanner, expose
from prior.phantom.skeleton import add_bones
from prior.phantom.texture import add_parenchyma
from prior.phantom.thorax import build_scene


@dataclass(frozen=True)
class Film:
    """A finished radiograph with its exact truth.

    Attributes:
        image: uint8 [H, W].
        regions: where each finding is.
        objects: foreign objects, annotated in pixels.
    """

    image: NDArray[np.uint8]
    regions: list[Region]
    objects: list[ForeignObject]


def take_film(
    body: Body,
    pose: Pose,
    findings: list[Finding],
    scanner: Scanner,
    size: int,
    rng: np.random.Generator,
    foreign: int = 0,
) -> Film:
    """Render a frontal film.

    Args:
        body: the patient's anatomy.
        pose: the exposure.
        findings: what is to be seen.
        scanner: properties of the site.
        size: pixels on a side.
        rng: draws of this study; equal states give equal films.
        foreign: number of foreign objects to lay on the chest.
    """
    by_kind = {f.kind: f for f in findings}
    ratio = body.heart
    if "Cardiomegaly" in by_kind:
        ratio = 0.53 + 0.17 * by_kind["Cardiomegaly"].severity
    lifts: dict[str, float] = {}
    if "Atelectasis" in by_kind:
        lifts = dict.fromkeys(sides_of(by_kind["Atelectasis"]), 0.10 * by_kind["Atelectasis"].severity)
    scene = build_scene(body, pose, size, rng, ratio, lifts)
    add_parenchyma(scene)
    broken = by_kind.get("Fracture")
    ribs = [rib_break(broken)] if broken and broken.variant == "rib" else []
    add_bones(scene, ribs, sign_of(broken.side) if broken and broken.variant == "clavicle" else 0)
    regions: list[Region] = []
    for finding in sorted(findings, key=lambda f: KINDS.index(f.kind)):
        regions += add_device(scene, finding) if finding.kind == "Support_Devices" else apply(scene, finding)
    objects = add_foreign_objects(scene, foreign)
    return Film(expose(scene, scanner), regions, objects)
