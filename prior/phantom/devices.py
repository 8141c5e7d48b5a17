"""Tubes, lines, generators and wires in the patient, and foreign objects on the patient."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from prior.phantom.anatomy import Scene
from prior.phantom.effects import Region, sign_of
from prior.phantom.findings import Finding
from prior.phantom.shapes import Array

SUPERSAMPLE = 3
Points = NDArray[np.float64]


@dataclass(frozen=True)
class ForeignObject:
    """An object with its annotation in pixels.

    Attributes:
        shape: rectangle, ellipse or polygon.
        points: [n, 2] pixel coordinates; two corners of the bounding rectangle unless a polygon.
    """

    shape: str
    points: NDArray[np.int64]


def strokes(scene: Scene, lines: list[Points], width: float, filled: bool = False) -> Array:
    """Coverage [H, W] in 0..1 of polylines (or polygons) in body coordinates, `width` in half widths."""
    size = scene.x.shape[0]
    canvas = Image.new("L", (size * SUPERSAMPLE, size * SUPERSAMPLE))
    pen = ImageDraw.Draw(canvas)
    pixels = max(1, round(width * scene.pose.scale * 0.5 * size * SUPERSAMPLE))
    for line in lines:
        points = [(float(px), float(py)) for px, py in scene.to_pixels(line) * SUPERSAMPLE]
        if filled:
            pen.polygon(points, fill=255)
        else:
            pen.line(points, fill=255, width=pixels, joint="curve")
    return np.asarray(canvas.reduce(SUPERSAMPLE), dtype=np.float32) * np.float32(1 / 255)


def curve(*anchors: tuple[float, float]) -> Points:
    """A smooth curve through anchors (cubic interpolation over chord length), 24 points."""
    points = np.array(anchors, dtype=float)
    chord = np.r_[0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    where = np.linspace(0, chord[-1], 24)
    tangent = np.gradient(points, chord, axis=0)
    index = np.clip(np.searchsorted(chord, where, side="right") - 1, 0, len(chord) - 2)
    step = (chord[index + 1] - chord[index])[:, None]
    t = (where - chord[index])[:, None] / step
    a, b = points[index], points[index + 1]
    ma, mb = tangent[index] * step, tangent[index + 1] * step
    smooth: Points = (2 * t**3 - 3 * t**2 + 1) * a + (t**3 - 2 * t**2 + t) * ma
    smooth += (3 * t**2 - 2 * t**3) * b + (t**3 - t**2) * mb
    return smooth


def oval(x: float, y: float, rx: float, ry: float) -> Points:
    """An ellipse as a polygon of 28 points."""
    turn = np.linspace(0, 2 * np.pi, 28)
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1)


def add_device(scene: Scene, finding: Finding) -> list[Region]:
    """Draw a support device into `scene.metal`; return its region."""
    rng = np.random.default_rng(finding.seed)
    lines, blocks = _layout(finding, rng)
    strength = {"wires": 0.9, "pacemaker": 0.8}.get(finding.variant, 0.95)
    cover = strokes(scene, lines, 0.022)
    scene.metal += np.float32(strength) * cover
    if blocks:
        block = strokes(scene, blocks, 0.01, filled=True)
        scene.metal += np.float32(1.1) * block
        cover = np.maximum(cover, block)
    mask = cover > 0.3
    return [Region("Support_Devices", finding.side, mask)] if mask.any() else []


def _layout(finding: Finding, rng: np.random.Generator) -> tuple[list[Points], list[Points]]:
    """Polylines and filled outlines of a device in body coordinates."""
    s = sign_of(finding.side)

    def jitter() -> float:
        return float(rng.normal(0, 0.015))

    cava = (-0.10 + jitter(), -0.02 + jitter())
    if finding.variant == "pacemaker":
        x, y = s * 0.50 + jitter(), -0.40 + jitter()
        leads = [
            curve((x, y), (s * 0.30, -0.52), (-0.10, -0.32), (-0.08, 0.02), (tip, 0.25))
            for tip in (-0.12, 0.26)
        ]
        return leads, [oval(x, y, 0.095, 0.08)]
    if finding.variant == "port":
        x, y = s * 0.46 + jitter(), -0.34 + jitter()
        return [curve((x, y), (s * 0.34, -0.60), (s * 0.12, -0.52), (-0.09, -0.30), cava)], [
            oval(x, y, 0.05, 0.05)
        ]
    if finding.variant == "picc":
        return [
            curve((s * 1.0, -0.18), (s * 0.72, -0.48), (s * 0.40, -0.60), (s * 0.05 - 0.05, -0.42), cava)
        ], []
    if finding.variant == "central line":
        return [curve((s * 0.20, -0.98), (s * 0.15, -0.70), (-0.09, -0.38), cava)], []
    if finding.variant == "endotracheal tube":
        tip = -0.34 + jitter() * 3
        return [np.array([[dx, -1.1], [dx, tip]]) for dx in (-0.032, 0.012)], []
    if finding.variant == "nasogastric tube":
        return [curve((0.02, -1.1), (0.03, -0.4), (0.05, 0.2), (0.16, 0.52), (0.36, 0.62))], []
    if finding.variant == "chest tube":
        return [
            curve((s * 0.86, 0.32), (s * 0.60, 0.10), (s * 0.42, -0.20), (s * 0.34, -0.52 + jitter()))
        ], []
    heights = np.linspace(-0.42, 0.22, 6)
    return [oval(jitter() * 0.5, float(h), 0.035, 0.022) for h in heights], []


def add_foreign_objects(scene: Scene, count: int) -> list[ForeignObject]:
    """Drop `count` objects (buttons, coins, hooks, chains, pins) on the chest; return their annotations."""
    return [_foreign(scene) for _ in range(count)]


def _foreign(scene: Scene) -> ForeignObject:
    rng = scene.rng
    kind = str(rng.choice(["button", "coin", "hook", "chain", "pin"], p=[0.36, 0.12, 0.2, 0.16, 0.16]))
    x, y = float(rng.uniform(-0.62, 0.62)), float(rng.uniform(-0.62, 0.55))
    r = float(rng.uniform(0.05, 0.10))
    if kind == "chain":
        drop = rng.uniform(0.12, 0.35)
        line = curve(
            (-0.24, -0.78),
            (-0.14, -0.72 + 0.6 * drop),
            (0.0, -0.72 + drop),
            (0.14, -0.72 + 0.6 * drop),
            (0.24, -0.78),
        )
        scene.metal += 1.0 * strokes(scene, [line], 0.028)
        half = np.array([0, 0.03])
        ring = np.concatenate([line[::2] - half, line[::-2] + half])
        return ForeignObject("polygon", _pixels(scene, ring))
    if kind == "pin":
        turn, length = rng.uniform(0, np.pi), r * 1.7
        u = np.array([np.cos(turn), np.sin(turn)])
        v = np.array([-u[1], u[0]]) * 0.035
        box = np.array([[x, y]]) + np.array(
            [u * length + v, u * length - v, -u * length - v, -u * length + v]
        )
        scene.metal += 0.9 * strokes(scene, [box], 0.01, filled=True)
        return ForeignObject("polygon", _pixels(scene, box))
    if kind == "hook":
        outline = np.array(
            [
                [x - r, y - r * 0.6],
                [x + r, y - r * 0.6],
                [x + r, y + r * 0.6],
                [x - r, y + r * 0.6],
                [x - r, y - r * 0.6],
            ]
        )
        scene.metal += 0.9 * strokes(scene, [outline, outline[[0, 2]]], 0.026)
        return ForeignObject("rectangle", _bounds(scene, outline))
    outline = oval(x, y, r, r)
    scene.metal += (0.8 if kind == "button" else 1.3) * strokes(scene, [outline], 0.01, filled=True)
    if kind == "button":
        scene.metal -= 0.6 * strokes(scene, [oval(x, y, r * 0.35, r * 0.35)], 0.01, filled=True)
    return ForeignObject("ellipse", _bounds(scene, outline))


def _pixels(scene: Scene, points: Points) -> NDArray[np.int64]:
    return np.clip(np.rint(scene.to_pixels(points)), 0, scene.x.shape[0] - 1).astype(np.int64)


def _bounds(scene: Scene, points: Points) -> NDArray[np.int64]:
    pixels = _pixels(scene, points)
    return np.stack([pixels.min(0), pixels.max(0)])
