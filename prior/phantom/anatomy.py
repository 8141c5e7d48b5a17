"""Who is imaged and how: body, pose, and the scene of maps that findings change and the projection reads.

Body coordinates: the image spans [-1, 1] in both directions before the pose is applied, x grows to the right
of the image (the patient's left), y grows downwards. Shapes are closed formulas of the coordinates, so masks
and boxes are exact at every resolution. Paths are in centimetres.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prior.phantom.shapes import Array

SIDES = ("right", "left")
LUNG_DENSITY = 0.24


@dataclass(frozen=True)
class Body:
    """What stays the same in all studies of one patient (lengths in half image widths)."""

    sex: str
    age: int
    chest: float
    apex: float
    dome: float
    depth: float
    heart: float
    tilt: float
    knob: float
    breast: float
    rib_spacing: float
    rib_slope: float
    rib_phase: float
    curve: float
    bone: float
    texture: int


@dataclass(frozen=True)
class Pose:
    """How one exposure was taken: view, in-plane pose, depth of inspiration and obliquity."""

    view: str
    angle: float
    scale: float
    shift: tuple[float, float]
    inspiration: float
    oblique: float


@dataclass
class Scene:
    """Maps of one exposure, all [H, W]; findings change them, the projection reads them."""

    body: Body
    pose: Pose
    x: Array
    y: Array
    soft: Array
    bone: Array
    metal: Array
    lung_path: Array
    density: Array
    lung: Array
    lateral: Array
    depth_below_apex: Array
    floor: Array
    hilum: Array
    extra: Array
    heart_path: Array
    rng: np.random.Generator
    lifts: dict[str, float] = field(default_factory=dict)

    def side(self, name: str) -> NDArray[np.bool_]:
        """Pixels on the patient's right (left half of the image) or left."""
        return self.x < 0 if name == "right" else self.x >= 0

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Body coordinates [n, 2] to pixel coordinates [n, 2] (x, y), pixel centres at +0.5."""
        angle, scale = self.pose.angle, self.pose.scale
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = points[:, 0] * scale, points[:, 1] * scale
        dx, dy = self.pose.shift
        placed: NDArray[np.float64] = np.stack([cos * x - sin * y + dx, sin * x + cos * y + dy], 1)
        placed = (placed + 1) * (0.5 * self.x.shape[0])
        return placed


def draw_body(rng: np.random.Generator, sex: str, age: int) -> Body:
    """Draw the anatomy of one patient."""
    n = rng.normal
    return Body(
        sex=sex,
        age=age,
        chest=float(np.clip(n(0.70 if sex == "M" else 0.67, 0.035), 0.6, 0.78)),
        apex=float(n(-0.72, 0.03)),
        dome=float(n(0.40, 0.05)),
        depth=float(np.clip(n(21, 2.2), 16, 27)),
        heart=float(np.clip(n(0.455 + 0.0004 * (age - 50), 0.022), 0.40, 0.50)),
        tilt=float(n(0.5, 0.12)),
        knob=float(np.clip(n(0.075 + 0.0004 * (age - 50), 0.012), 0.04, 0.13)),
        breast=float(np.clip(n(2.6, 1.0), 0.4, 5)) if sex == "F" else 0.0,
        rib_spacing=float(n(0.158, 0.008)),
        rib_slope=float(n(0.34, 0.05)),
        rib_phase=float(rng.uniform(0, 1)),
        curve=float(n(0, 0.012)),
        bone=float(np.clip(n(1.0 - 0.003 * (age - 50), 0.12), 0.6, 1.4)),
        texture=int(rng.integers(2**31)),
    )


def draw_pose(rng: np.random.Generator, view: str) -> Pose:
    """Draw the pose of one exposure; bedside (AP) films are less straight and less inspired."""
    wobble = 1.5 if view == "AP" else 1.0
    return Pose(
        view=view,
        angle=float(rng.normal(0, 0.025 * wobble)),
        scale=float(np.clip(rng.normal(1.0, 0.04), 0.9, 1.12)),
        shift=(float(rng.normal(0, 0.025 * wobble)), float(rng.normal(0.02, 0.025 * wobble))),
        inspiration=float(rng.normal(-0.03 if view == "AP" else 0.02, 0.035)),
        oblique=float(rng.normal(0, 0.016 * wobble)),
    )
