"""The analytic thorax: ray paths through trunk, lungs, heart, mediastinum and spine, in centimetres."""

import numpy as np

from prior.phantom.anatomy import LUNG_DENSITY, Body, Pose, Scene
from prior.phantom.shapes import Array, dome_of, edge, fourth


def grid(size: int, pose: Pose) -> tuple[Array, Array]:
    """Body coordinates x, y [size, size] of all pixel centres under the inverse pose."""
    line = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)
    u, v = line[None, :] - np.float32(pose.shift[0]), line[:, None] - np.float32(pose.shift[1])
    cos, sin = np.float32(np.cos(pose.angle) / pose.scale), np.float32(np.sin(pose.angle) / pose.scale)
    return cos * u + sin * v, cos * v - sin * u


def build_scene(
    body: Body, pose: Pose, size: int, rng: np.random.Generator, heart: float, lifts: dict[str, float]
) -> Scene:
    """Lay out the normal thorax.

    Args:
        body: the patient.
        pose: the exposure.
        size: pixels on a side.
        rng: draws of this study.
        heart: cardiothoracic ratio wanted in this study.
        lifts: how far the diaphragm of a side is raised (volume loss).
    """
    x, y = grid(size, pose)
    lung, lateral, below, floor, path = _lungs(body, pose, x, y, lifts)
    heart_path = _heart(body, pose, x, y, heart)
    hilum = _hilum_distance(x, y)
    zero = np.zeros_like(x)
    scene = Scene(
        body=body,
        pose=pose,
        x=x,
        y=y,
        soft=_torso(body, x, y) + _mediastinum(body, pose, x, y),
        bone=zero.copy(),
        metal=zero.copy(),
        lung_path=np.maximum(path - heart_path, 0.12 * path),
        density=np.full_like(x, LUNG_DENSITY),
        lung=lung,
        lateral=lateral,
        depth_below_apex=below,
        floor=floor,
        hilum=hilum,
        extra=zero.copy(),
        heart_path=heart_path,
        rng=rng,
        lifts=lifts,
    )
    scene.bone += _spine(body, pose, x, y)
    return scene


def _torso(body: Body, x: Array, y: Array) -> Array:
    """Soft path of neck, shoulders, trunk and arms, plus breasts and the gas of the stomach."""
    rise = np.clip((y + 1.0 - 0.35 * np.maximum(0.25 - np.abs(x), 0)) / 0.42, 0, 1)
    width = 0.20 + 0.98 * rise * np.sqrt(rise) - (1.05 - body.chest) * edge(y + 0.28, 0.5)
    depth = body.depth * (0.50 + 0.50 * rise + 0.13 * edge(y - 0.5, 0.5))
    trunk = depth * np.sqrt(np.maximum(1 - fourth(x / width), 0))
    arm_centre = body.chest + 0.34 + 0.09 * (y - 0.2)
    arm = 9.5 * dome_of(((np.abs(x) - arm_centre) / 0.16) ** 2) * edge(y + 0.45, 0.3)
    path = np.maximum(trunk, arm)
    if body.breast > 0:
        for centre in (-0.40, 0.42):
            radius = ((x - centre) / 0.30) ** 2 + ((y - 0.34) / np.where(y > 0.34, 0.18, 0.36)) ** 2
            path += body.breast * dome_of(radius)
    gas = (body.texture % 100) / 100
    bubble = ((x - 0.33) / (0.08 + 0.08 * gas)) ** 2 + ((y - body.dome - 0.20) / (0.05 + 0.04 * gas)) ** 2
    path -= 5.5 * gas * dome_of(bubble)
    whole: Array = path.astype(np.float32)
    return whole


def _lungs(
    body: Body, pose: Pose, x: Array, y: Array, lifts: dict[str, float]
) -> tuple[Array, Array, Array, Array, Array]:
    """Lung mask, lateral coordinate (0 medial, 1 lateral), depth below apex, height over floor, path."""
    ax = np.abs(x - np.float32(0.4 * pose.oblique))
    below = y - np.float32(body.apex)
    t = np.clip(below / 0.62, 0, 1)
    outer = body.chest * (0.34 + 0.66 * np.sqrt(np.maximum(1 - (1 - t) ** 2, 0))) - 0.02
    outer += 0.03 * np.clip(y, -0.3, 0.6)
    inner = 0.085 + 0.07 * np.exp(-(((y + 0.05) / 0.35) ** 2)) + 0.05 * (1 - t)
    span = np.maximum(outer - inner, 0.05)
    lateral = (ax - inner) / span
    right = x < 0
    lift = np.where(right, np.float32(lifts.get("right", 0.0)), np.float32(lifts.get("left", 0.0) - 0.05))
    dome = np.float32(body.dome + pose.inspiration) - lift
    floor = dome + np.where(lateral > 0.45, 0.62, 0.30) * (lateral - 0.45) ** 2 - y
    rounded = below - 0.17 * (2 * lateral - 1) ** 2
    mask = edge(ax - inner, 0.025) * edge(outer - ax, 0.02) * edge(floor, 0.02) * edge(rounded, 0.03)
    path = 0.60 * body.depth * np.sqrt(np.maximum(1 - fourth(2 * lateral - 1), 0)) * mask
    path *= 0.62 + 0.38 * edge(below - 0.3, 0.6)
    f32 = np.float32
    return mask.astype(f32), lateral.astype(f32), below.astype(f32), floor.astype(f32), path.astype(f32)


def _heart(body: Body, pose: Pose, x: Array, y: Array, ratio: float) -> Array:
    """Path through the heart, an egg that lies mostly on the left."""
    magnified = ratio * (1.05 if pose.view == "AP" else 1.0)
    half = magnified * body.chest
    base = body.dome + pose.inspiration
    cx, cy = 0.32 * half + pose.oblique, base - 0.17 - 0.25 * half
    cos, sin = np.cos(body.tilt), np.sin(body.tilt)
    u, v = x - np.float32(cx), y - np.float32(cy)
    along, across = cos * u + sin * v, cos * v - sin * u
    radius = (along / (half * 1.06)) ** 2 + (across / (half * 0.86 + 0.02)) ** 2
    lower = edge(base + 0.14 - y, 0.1)
    path: Array = (9.5 * dome_of(radius) * lower).astype(np.float32)
    return path


def _mediastinum(body: Body, pose: Pose, x: Array, y: Array) -> Array:
    """Great vessels, aortic knob, hila and the air of the trachea."""
    shift = np.float32(pose.oblique)
    path = 2.6 * dome_of(((x + 0.10 - shift) / 0.075) ** 2 + ((y + 0.30) / 0.34) ** 2)
    path += 3.2 * dome_of(((x - 0.125 - shift) / body.knob) ** 2 + ((y + 0.30) / (body.knob * 1.15)) ** 2)
    path += 2.0 * dome_of(((x - 0.13 - shift) / 0.085) ** 2 + ((y + 0.10) / 0.16) ** 2)
    for centre in (-0.20, 0.21):
        path += 1.7 * dome_of(((x - centre) / 0.075) ** 2 + ((y + 0.06) / 0.13) ** 2)
    trachea = dome_of(((x + 0.012 - shift * 0.5) / 0.045) ** 2) * edge(-0.22 - y, 0.06)
    path -= 2.8 * trachea
    whole: Array = path.astype(np.float32)
    return whole


def _hilum_distance(x: Array, y: Array) -> Array:
    """Distance to the hilum of the same side."""
    distance: Array = np.hypot(np.abs(x) - np.float32(0.18), y + np.float32(0.05)).astype(np.float32)
    return distance


def _spine(body: Body, pose: Pose, x: Array, y: Array) -> Array:
    """Bone path of the vertebral column: bodies, darker discs and pedicles."""
    u = x - np.float32(0.6 * pose.oblique) - body.curve * np.sin(np.float32(3.0) * y)
    phase = np.abs(((y * np.float32(1 / 0.135)) % 1) - 0.5)
    column = dome_of((u / 0.078) ** 2)
    pedicle = dome_of(((np.abs(u) - 0.05) / 0.02) ** 2 + ((phase - 0.1) / 0.2) ** 2)
    path: Array = body.bone * (column * (1.35 - 0.55 * (phase > 0.42)) + 0.5 * pedicle)
    return path.astype(np.float32)
