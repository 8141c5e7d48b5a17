"""How each finding changes the thorax, and the exact region it occupies."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prior.phantom.anatomy import Scene
from prior.phantom.findings import Finding
from prior.phantom.shapes import Array, dome_of, edge
from prior.phantom.skeleton import RibBreak, posterior_rib_height
from prior.phantom.texture import field, vessels

Mask = NDArray[np.bool_]
ZONE_HEIGHT = {"upper": -0.42, "mid": -0.12, "lower": 0.16}


@dataclass(frozen=True)
class Region:
    """The pixels of one connected appearance of a finding."""

    label: str
    side: str
    mask: Mask


def sides_of(finding: Finding) -> tuple[str, ...]:
    """Sides on which a finding is drawn."""
    return ("right", "left") if finding.side == "bilateral" else (finding.side,)


def sign_of(side: str) -> int:
    """-1 for the patient's right, which is the left of the image."""
    return -1 if side == "right" else 1


def apply(scene: Scene, finding: Finding) -> list[Region]:
    """Draw a lung, pleural or cardiac finding into `scene`; return its regions (empty ones left out)."""
    rng = np.random.default_rng(finding.seed)
    regions = []
    for side in sides_of(finding):
        mask = EFFECTS[finding.kind](scene, finding, side, rng)
        if mask.any():
            regions.append(Region(finding.kind, side or "middle", mask))
    return regions


def _thicken(scene: Scene, amount: Array, target: float) -> None:
    """Move the lung's density towards `target` where `amount` (0 to 1) says so."""
    scene.density += (np.float32(target) - scene.density) * amount * scene.lung


def _cardiomegaly(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    return scene.heart_path > 0.3


def _consolidation(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    sign, s = sign_of(side), finding.severity
    cx, cy = sign * rng.uniform(0.33, 0.48), ZONE_HEIGHT[finding.zone] + rng.uniform(-0.06, 0.06)
    rx, ry = 0.17 + 0.12 * s, 0.14 + 0.13 * s
    warp = field(rng, scene.x.shape[0], 9) * np.float32(0.22)
    profile = edge(1 - ((scene.x - cx) / rx) ** 2 - ((scene.y - cy) / ry) ** 2 + warp, 0.9)
    fissure = scene.y - cy + 0.12 * (np.abs(scene.x) - 0.4)
    if finding.zone == "upper":
        profile = profile * edge(0.08 - fissure, 0.03)
    elif finding.zone == "mid":
        profile = profile * edge(fissure + 0.08, 0.03)
    profile = profile * scene.side(side)
    _thicken(scene, profile * (0.42 + 0.5 * s), 0.95)
    return (profile > 0.5) & (scene.lung > 0.5)


def _pneumonia(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    sign, s = sign_of(side), finding.severity
    clear = np.ones_like(scene.x)
    mx, my = rng.uniform(0.32, 0.5), ZONE_HEIGHT[finding.zone] + rng.uniform(-0.05, 0.05)
    for _ in range(3 + int(4 * s)):
        cx, cy = sign * (mx + rng.normal(0, 0.06 + 0.05 * s)), my + rng.normal(0, 0.07 + 0.06 * s)
        radius = rng.uniform(0.07, 0.11) * (1 + 0.5 * s)
        clear *= 1 - 0.75 * edge(1 - ((scene.x - cx) ** 2 + (scene.y - cy) ** 2) / radius**2, 1.0)
    mottled = 1 + np.float32(0.28) * field(rng, scene.x.shape[0], 18)
    profile = (1 - clear) * scene.side(side)
    _thicken(scene, np.clip(profile * mottled, 0, 1) * (0.32 + 0.42 * s), 0.9)
    mask: Mask = (profile > 0.38) & (scene.lung > 0.5)
    return mask


def _edema(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    s, here = finding.severity, scene.side(side)
    haze = np.exp(-((scene.hilum / (0.30 + 0.16 * s)) ** 2)) * (1 + 0.3 * field(rng, scene.x.shape[0], 14))
    amount = np.clip(haze, 0, 1).astype(np.float32) * np.float32(0.14 + 0.42 * s) * here
    _thicken(scene, amount, 0.8)
    scene.extra += vessels(scene) * np.float32(0.5 + 1.0 * s) * here
    mask: Mask = (amount > 0.10) & (scene.lung > 0.5)
    return mask


def _atelectasis(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    s, sign = finding.severity, sign_of(side)
    base = -0.10 if finding.zone == "mid" else 0.20
    total = np.zeros_like(scene.x)
    for plate in range(1 + int(2.2 * s)):
        slope, height = rng.uniform(-0.25, 0.35), base - 0.10 * plate + rng.uniform(-0.04, 0.04)
        line = scene.y - height - slope * (np.abs(scene.x) - 0.4)
        width = 0.020 + 0.016 * s
        reach = edge(scene.lateral - rng.uniform(0.0, 0.25), 0.2) * edge(
            rng.uniform(0.75, 1.0) - scene.lateral, 0.2
        )
        total = np.maximum(total, dome_of((line / width) ** 2) * reach)
    if s > 0.5 and finding.zone == "lower":
        wedge = edge(0.55 - scene.lateral - 1.1 * np.maximum(scene.floor, 0), 0.2) * (sign * scene.x > 0)
        total = np.maximum(total, np.float32(0.75) * wedge)
    total = total * scene.side(side)
    _thicken(scene, total * np.float32(0.34 + 0.30 * s), 0.95)
    return (total > 0.4) & (scene.lung > 0.5)


def _effusion(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    s = finding.severity
    lateral = np.clip(scene.lateral, 0, 1)
    height = (0.05 + 0.52 * s) * (0.30 + 0.70 * lateral**2 + 0.10 * (1 - lateral) ** 2)
    height = height + np.where(lateral > 0.8, (lateral - 0.8) * 0.35, 0)
    depth = height - scene.floor
    fluid = edge(depth, 0.05 + 0.05 * s) * scene.side(side)
    _thicken(scene, fluid, 0.97)
    scene.extra += np.float32(0.9) * fluid * scene.lung
    return (fluid > 0.5) & (scene.lung > 0.5)


def _pneumothorax(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    s, here = finding.severity, scene.side(side)
    retract = np.float32(0.05 + 0.24 * s)
    taper = 1 - (0.75 - 0.55 * s) * edge(scene.y - 0.0, 0.9)
    wave = field(rng, scene.x.shape[0], 4) * np.float32(0.012)
    from_wall = (1 - scene.lateral) * np.float32(0.52)
    wall = np.maximum(from_wall / taper, 1e-3)
    top = np.maximum((scene.depth_below_apex - 0.03) / 1.4, 1e-3)
    inside = retract - (wall**-3 + top**-3) ** (-1 / 3) + wave
    air = edge(inside, 0.014) * here
    collapsed = (1 - air) * here * np.float32(0.25 * s)
    _thicken(scene, collapsed, 0.7)
    scene.density *= 1 - air * np.float32(0.97)
    scene.extra *= 1 - air * scene.lung
    scene.extra += np.float32(0.75) * dome_of((inside / 0.013) ** 2) * here * scene.lung
    return (air > 0.5) & (scene.lung > 0.5)


def _lesion(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    s, sign = finding.severity, sign_of(side)
    mask = np.zeros(scene.x.shape, dtype=bool)
    for index in range(1 + int(rng.random() < 0.2)):
        radius = (0.045 + 0.085 * s) * (1 if index == 0 else 0.7)
        cx = sign * rng.uniform(0.30, 0.52)
        cy = ZONE_HEIGHT[finding.zone] + rng.uniform(-0.08, 0.08)
        lobes = 1 + 0.10 * np.sin(3 * np.arctan2(scene.y - cy, scene.x - cx) + rng.uniform(0, 6))
        distance = ((scene.x - cx) ** 2 + (scene.y - cy) ** 2) / (radius * lobes) ** 2
        scene.extra += (2.2 + 22 * radius) * dome_of(distance) * scene.lung
        mask |= distance < 1
    return mask & (scene.lung > 0.5)


def _fracture(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    x, y = fracture_point(scene, finding, side)
    radius = 0.045 + 0.03 * finding.severity
    distance = ((scene.x - x) ** 2 + (scene.y - y) ** 2) / radius**2
    scene.bone += np.float32(0.8 + 0.9 * finding.severity) * dome_of(distance)
    return distance < 1.5


def fracture_point(scene: Scene, finding: Finding, side: str) -> tuple[float, float]:
    """Where a fracture lies in body coordinates."""
    sign = sign_of(side)
    if finding.variant == "clavicle":
        base = -0.60 if scene.pose.view == "AP" else -0.55
        return sign * 0.42, base - 0.30 * 0.36 + 0.10 * float(np.sin(5.5 * 0.32))
    broken = rib_break(finding)
    return sign * broken.x, posterior_rib_height(scene, broken.x, broken.index)


def rib_break(finding: Finding) -> RibBreak:
    """The displaced rib of a fracture."""
    index = {"upper": 3, "mid": 4, "lower": 6}[finding.zone]
    x = 0.50 + 0.10 * (finding.seed % 97) / 97
    return RibBreak(sign_of(finding.side), index, x, 0.02 + 0.025 * finding.severity)


def _mediastinum(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    s = finding.severity
    lean = np.float32(rng.uniform(-0.03, 0.03) + scene.pose.oblique)
    swell = np.exp(-(((scene.y + 0.30) / 0.26) ** 2))
    half = 0.12 + np.float32(0.085 + 0.11 * s) * swell
    length = edge(scene.y + 0.72, 0.30) * edge(0.08 - scene.y, 0.25)
    profile = edge(half - np.abs(scene.x - lean), 0.045) * length
    _thicken(scene, profile, 0.95)
    round_ = dome_of(((scene.x - lean) / (half + 0.02)) ** 2)
    scene.extra += np.float32(0.5 + 0.7 * s) * profile * round_
    return profile > 0.5


def _pleura(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    s, sign = finding.severity, sign_of(side)
    middle = ZONE_HEIGHT[finding.zone] + rng.uniform(-0.04, 0.04)
    ragged = field(rng, scene.x.shape[0], 14)
    if finding.variant == "plaque":
        cx, rx, ry = sign * rng.uniform(0.40, 0.50), 0.10 + 0.05 * s, 0.07 + 0.05 * s
        distance = ((scene.x - cx) / rx) ** 2 + ((scene.y - middle) / ry) ** 2 + 0.28 * ragged
        shape = edge(1 - distance, 0.25)
        rim = dome_of(((distance - 0.8) / 0.35) ** 2)
        scene.bone += (0.9 + 0.8 * s) * np.maximum(0.6 * shape, rim) * scene.lung
        return (distance < 1) & (scene.lung > 0.5)
    width = (0.10 + 0.10 * s) * (1 + 0.2 * ragged)
    reach = edge(0.30 + 0.12 * s - np.abs(scene.y - middle), 0.28)
    band = edge(width - (1 - scene.lateral), 0.05) * reach * scene.side(side)
    if finding.zone == "upper":
        cap = edge(0.5 * width + 0.03 - scene.depth_below_apex + 0.17 * (2 * scene.lateral - 1) ** 2, 0.03)
        band = np.maximum(band, cap * scene.side(side))
    _thicken(scene, band, 0.97)
    scene.extra += np.float32(1.5) * band * scene.lung
    return (band > 0.5) & (scene.lung > 0.5)


def _opacity(scene: Scene, finding: Finding, side: str, rng: np.random.Generator) -> Mask:
    s = finding.severity
    cx, cy = sign_of(side) * rng.uniform(0.32, 0.46), ZONE_HEIGHT[finding.zone] + rng.uniform(-0.06, 0.06)
    radius = (0.17 + 0.10 * s) * (1 + 0.16 * field(rng, scene.x.shape[0], 5))
    haze = np.exp(-((scene.x - cx) ** 2 + (scene.y - cy) ** 2) / radius**2) * scene.side(side)
    _thicken(scene, haze * np.float32(0.72 + 0.28 * s), 0.95)
    return (haze > 0.4) & (scene.lung > 0.5)


Effect = Callable[[Scene, Finding, str, np.random.Generator], Mask]
EFFECTS: dict[str, Effect] = {
    "Cardiomegaly": _cardiomegaly,
    "Edema": _edema,
    "Consolidation": _consolidation,
    "Pneumonia": _pneumonia,
    "Atelectasis": _atelectasis,
    "Pleural_Effusion": _effusion,
    "Pneumothorax": _pneumothorax,
    "Lung_Lesion": _lesion,
    "Fracture": _fracture,
    "Enlarged_Cardiomediastinum": _mediastinum,
    "Pleural_Other": _pleura,
    "Lung_Opacity": _opacity,
}
