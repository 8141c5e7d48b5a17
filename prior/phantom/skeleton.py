"""Ribs, clavicles and shoulder blades; one periodic formula gives a whole set of ribs."""

from dataclasses import dataclass

import numpy as np

from prior.phantom.anatomy import Scene
from prior.phantom.shapes import Array, dome_of, edge, fourth


@dataclass(frozen=True)
class RibBreak:
    """A displaced fracture: side (-1 the image's left), number of the rib set, and where along x it broke."""

    side: int
    index: int
    x: float
    step: float


def add_bones(scene: Scene, breaks: list[RibBreak], clavicle_break: int) -> None:
    """Add ribs, clavicles and scapulae to `scene.bone`.

    Args:
        scene: the exposure; its bone map changes.
        breaks: rib fractures to show.
        clavicle_break: side (-1, 1) of a broken clavicle, 0 for none.
    """
    scene.bone += _posterior(scene, breaks)
    scene.bone += _anterior(scene)
    scene.bone += _clavicles(scene, clavicle_break)
    scene.bone += _scapulae(scene)


def posterior_rib_height(scene: Scene, x: float, index: int) -> float:
    """Height y of posterior rib `index` at horizontal position `x`."""
    body = scene.body
    return _posterior_curve(body.rib_slope, abs(x)) + (index + body.rib_phase) * body.rib_spacing - 0.90


def _posterior_curve(slope: float, r: float) -> float:
    return slope * r * r - 0.10 * r


def _posterior(scene: Scene, breaks: list[RibBreak]) -> Array:
    body, y = scene.body, scene.y
    r = np.abs(scene.x)
    height = y - (body.rib_slope * r * r - 0.10 * r)
    for one in breaks:
        beyond = (np.sign(scene.x) == one.side) & (r > one.x)
        near = np.abs(y - posterior_rib_height(scene, one.x, one.index)) < 0.5 * body.rib_spacing
        height = height - np.float32(one.step) * (beyond & near)
    phase = (height + 0.90) / body.rib_spacing - body.rib_phase
    offset = np.abs((phase + 0.5) % 1 - 0.5) * body.rib_spacing
    profile = dome_of((offset / 0.033) ** 2)
    rim = dome_of(((offset - 0.027) / 0.009) ** 2)
    inside = edge(1.06 - scene.lateral, 0.06) * (r > 0.06) * edge(0.55 - y, 0.1) * edge(y + 0.84, 0.04)
    tangential = 1 + 1.6 * fourth(np.clip(scene.lateral, 0, 1.05) ** 2)
    return (body.bone * inside * tangential * (0.62 * profile + 0.30 * rim)).astype(np.float32)


def _anterior(scene: Scene) -> Array:
    body = scene.body
    r = np.abs(scene.x)
    height = scene.y + (0.55 * r - 0.30 * r * r)
    spacing = body.rib_spacing * 1.12
    offset = np.abs((height / spacing - body.rib_phase * 0.7) % 1 - 0.5) * spacing
    profile = dome_of((offset / 0.042) ** 2)
    inside = edge(1.03 - scene.lateral, 0.06) * edge(r - 0.30, 0.16) * edge(0.45 - scene.y, 0.1)
    return (0.42 * body.bone * inside * profile * edge(scene.y + 0.62, 0.1)).astype(np.float32)


def _clavicles(scene: Scene, broken: int) -> Array:
    r = np.abs(scene.x)
    base = -0.60 if scene.pose.view == "AP" else -0.55
    y = scene.y
    if broken:
        y = y + np.float32(0.055) * ((np.sign(scene.x) == broken) & (r > 0.42))
    middle = base - 0.30 * (r - 0.06) + 0.10 * np.sin(np.float32(5.5) * (r - 0.1))
    thickness = 0.034 + 0.012 * np.abs(r - 0.35)
    profile = dome_of(((y - middle) / thickness) ** 2)
    span = edge(r - 0.08, 0.05) * edge(0.80 - r, 0.06)
    return (1.25 * scene.body.bone * profile * span).astype(np.float32)


def _scapulae(scene: Scene) -> Array:
    """Shoulder blades and humeral heads; a bedside film does not swing the blades off the lungs."""
    r, y = np.abs(scene.x), scene.y
    inward = 0.10 if scene.pose.view == "AP" else 0.0
    centre = scene.body.chest + 0.09 - inward
    u = (r - centre - 0.12 * (y + 0.4)) / 0.15
    blade = edge(1 - np.abs(u), 0.3) * edge(y + 0.66, 0.06) * edge(0.0 - y - 0.9 * np.abs(u) * 0.3, 0.08)
    border = dome_of(((u + 0.92) / 0.14) ** 2) * edge(y + 0.6, 0.1) * edge(-y, 0.1)
    head = dome_of(((r - scene.body.chest - 0.22) / 0.12) ** 2 + ((y + 0.56) / 0.12) ** 2)
    shaft = dome_of(((r - scene.body.chest - 0.35 - 0.1 * y) / 0.06) ** 2) * edge(y + 0.5, 0.1)
    return (scene.body.bone * (0.30 * blade + 0.35 * border + 1.5 * head + 1.3 * shaft)).astype(np.float32)
