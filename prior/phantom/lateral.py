"""The lateral film of a study: the same patient, breath and findings seen from the left side.

Coordinates as in `anatomy`, but x grows from the patient's front to the back. What is on the left and on the
right of the patient lies behind each other, so each lung has its own path and density and both add up.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prior.phantom.anatomy import LUNG_DENSITY, SIDES, Body, Pose, Scene, draw_pose
from prior.phantom.effects import ZONE_HEIGHT, sides_of
from prior.phantom.findings import Finding
from prior.phantom.hospital import Study, generator
from prior.phantom.radiograph import SCANNERS, Scanner, expose
from prior.phantom.shapes import Array, dome_of, edge, fourth
from prior.phantom.texture import branches, field
from prior.phantom.thorax import grid

# Share of the upright (PA) studies with a lateral film; nobody takes one at the bedside.
SHARE = 0.35
# The beam is harder than in the frontal view because the way is longer: centimetres count for less.
HARDER = 0.72
HILUM = (0.04, -0.06)
ZONE_DEPTH = {"upper": 0.06, "mid": -0.16, "lower": 0.22}
OPAQUE = ("Consolidation", "Pneumonia", "Lung_Opacity")


@dataclass
class Side:
    """One lung of a lateral film, maps [H, W]: path in centimetres, height over the diaphragm, density."""

    path: Array
    floor: Array
    density: Array


def lateral_of(study: Study, hospital: str, size: int, seed: int) -> NDArray[np.uint8] | None:
    """The lateral film [size, size] of a study, None for most: bedside films never have one.

    It has its own random stream: whether it is taken changes nothing else of the study.
    """
    rng = generator(seed, hospital, 5, study.index)
    if study.pose.view != "PA" or rng.random() >= SHARE:
        return None
    return take_lateral(study.body, study.pose, study.findings, SCANNERS[hospital], size, rng)


def take_lateral(
    body: Body,
    frontal: Pose,
    findings: list[Finding],
    scanner: Scanner,
    size: int,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Render a lateral film [size, size].

    Cardiomegaly, effusion, consolidation, pneumonia, opacity, edema, atelectasis, lesions and a wide
    mediastinum show; pneumothorax, fractures, pleural changes and devices do not.

    Args:
        body: the patient's anatomy.
        frontal: the exposure from the front, for the depth of the breath.
        findings: what is to be seen.
        scanner: properties of the site.
        size: pixels on a side.
        rng: draws of this film.
    """
    pose = replace(draw_pose(rng, "PA"), view="LATERAL", inspiration=frontal.inspiration)
    z, y = grid(size, pose)
    front, back, below = _bounds(body, y)
    by_kind = {f.kind: f for f in findings}
    lungs = _lungs(body, pose, z, y, (front, back, below), by_kind.get("Atelectasis"))
    heart = _heart(body, pose, z, y, by_kind.get("Cardiomegaly"))
    soft = _trunk(body, z, y, front, back) + _middle(z, y)
    bone = _spine(body, z, y, back) + _ribs(body, z, y, front, back) + _sternum(body, z, y, front)
    extra = np.zeros_like(z)
    for finding in findings:
        extra += _show(finding, lungs, z, y, size)
    total = np.maximum(sum(side.path for side in lungs.values()), 1e-3)
    density = sum(side.path * side.density for side in lungs.values()) / total
    radius = np.hypot(z - HILUM[0], y - HILUM[1])
    inside = np.clip(total / 4, 0, 1)
    extra += branches(body.texture, radius, np.arctan2(y - HILUM[1], z - HILUM[0]), 0.0) * inside * 1.3
    density = density + field(rng, size, 24) * np.float32(0.012)
    blank = np.zeros_like(z)
    scene = Scene(
        body=body, pose=pose, x=z, y=y, soft=HARDER * soft, bone=HARDER * bone, metal=blank,
        lung_path=HARDER * np.maximum(total - 0.8 * heart, 0.2 * total), density=density, lung=inside,
        lateral=blank, depth_below_apex=below, floor=blank, hilum=radius, extra=HARDER * extra,
        heart_path=heart, rng=rng,
    )  # fmt: skip
    return expose(scene, scanner)


def _bounds(body: Body, y: Array) -> tuple[Array, Array, Array]:
    """Front and back of the lungs at each height, and the depth below the apex."""
    below = y - np.float32(body.apex)
    t = np.clip(below / 0.85, 0, 1)
    reach = np.float32(body.depth / 36)
    front = 0.10 - reach * (0.30 + 0.72 * np.sqrt(t) - 0.10 * np.clip(y - 0.2, 0, 1))
    back = 0.10 + reach * (
        0.36 + 0.50 * np.sqrt(np.maximum(1 - (1 - t) ** 2, 0)) - 0.10 * np.clip(y, 0, 1) ** 2
    )
    return front, back, below


def _lungs(
    body: Body, pose: Pose, z: Array, y: Array, bounds: tuple[Array, Array, Array], fallen: Finding | None
) -> dict[str, Side]:
    front, back, below = bounds
    u = (z - 0.5 * (front + back)) / (0.5 * (back - front))
    across = np.sqrt(np.maximum(1 - fourth(u), 0)) * edge(below - 0.10 * u * u, 0.04)
    lungs = {}
    for side, offset in zip(SIDES, (0.0, 0.045), strict=True):
        lift = 0.10 * fallen.severity if fallen and side in sides_of(fallen) else 0.0
        dome = np.float32(body.dome + pose.inspiration + offset - lift)
        slope = np.where(z > -0.1, 0.95, 0.40)
        floor = dome + slope * (z + 0.1) ** 2 - y
        length = 20 * (body.chest - 0.12) * (0.62 + 0.38 * edge(below - 0.3, 0.6))
        lungs[side] = Side(length * across * edge(floor, 0.02), floor, np.full_like(z, LUNG_DENSITY + 0.05))
    return lungs


def _heart(body: Body, pose: Pose, z: Array, y: Array, large: Finding | None) -> Array:
    """Path through the heart; it leans on the sternum and the front of the diaphragm."""
    ratio = 0.53 + 0.17 * large.severity if large else body.heart
    half = ratio * body.chest
    base = body.dome + pose.inspiration
    v, w = z + np.float32(0.36 - 0.42 * half), y - np.float32(base - 0.02 - 0.62 * half)
    along, across = 0.78 * w - 0.62 * v, 0.78 * v + 0.62 * w
    shape = (along / (1.12 * half)) ** 2 + (across / (0.82 * half)) ** 2
    return 8.0 * dome_of(shape) * edge(base + 0.12 - y, 0.1)


def _trunk(body: Body, z: Array, y: Array, front: Array, back: Array) -> Array:
    """Chest wall, belly, neck and the raised arms."""
    belly = np.clip(y - 0.1, 0, 1)
    breast = np.float32(0.035 * body.breast) * np.exp(-(((y - 0.24) / 0.17) ** 2))
    skin_front = front - 0.075 - breast - 0.08 * belly
    skin_back = back + 0.15 - 0.05 * belly
    neck = edge(-0.72 - y, 0.30)
    middle, half = 0.5 * (skin_front + skin_back), 0.5 * (skin_back - skin_front)
    middle, half = middle * (1 - neck) + 0.05 * neck, half * (1 - neck) + 0.24 * neck
    wide = (20 * body.chest * 2 + 3 + 2 * belly) * (1 - 0.62 * neck)
    trunk = wide * np.sqrt(np.maximum(1 - fourth((z - middle) / half), 0))
    arms = 7.0 * dome_of(((z - 0.02 - 0.35 * (y + 0.8)) / 0.20) ** 2) * edge(-0.50 - y, 0.35)
    return np.maximum(trunk, 0.1) * 0.86 + arms


def _middle(z: Array, y: Array) -> Array:
    """Trachea, arch and descending aorta, hila."""
    airway = 0.05 + 0.16 * (y + 0.5)
    path = -2.4 * dome_of(((z - airway) / 0.040) ** 2) * edge(-0.14 - y, 0.06)
    arch = np.hypot((z - 0.06) / 1.15, y + 0.28)
    path = path + 2.6 * dome_of(((arch - 0.13) / 0.065) ** 2) * edge(-0.27 - y, 0.08)
    path = path + 1.6 * dome_of(((z - 0.235) / 0.06) ** 2) * edge(y + 0.26, 0.08) * edge(0.6 - y, 0.3)
    for dz, dy, strength in ((-0.05, 0.0, 3.0), (0.05, 0.03, 2.4)):
        place = ((z - HILUM[0] - dz) / 0.075) ** 2 + ((y - HILUM[1] - dy) / 0.085) ** 2
        path = path + strength * dome_of(place)
    return path


def _spine(body: Body, z: Array, y: Array, back: Array) -> Array:
    """Vertebral bodies with dark discs between, and the spinous processes behind."""
    centre = back - 0.085
    u = z - centre
    phase = np.abs(((y - 0.2 * u) * np.float32(1 / 0.142) + body.rib_phase) % 1 - 0.5)
    solid = edge(0.40 - phase, 0.08)
    rim = dome_of(((phase - 0.36) / 0.06) ** 2)
    column = edge(0.088 - np.abs(u), 0.02)
    behind = edge(0.20 - np.abs(u - 0.10), 0.05) * edge(0.30 - phase, 0.2) * edge(u - 0.09, 0.02)
    return body.bone * (column * (0.55 + 0.7 * solid + 0.4 * rim) + 0.7 * behind)


def _ribs(body: Body, z: Array, y: Array, front: Array, back: Array) -> Array:
    """Ribs of both sides, falling from the spine to the front, seldom in line with each other."""
    path = np.zeros_like(z)
    inside = edge(z - front - 0.02, 0.06) * edge(back + 0.02 - z, 0.05)
    bow = 0.62 * (z - 0.45) + 0.35 * (z - 0.1) ** 2
    for shift in (0.0, 0.37):
        phase = (y + bow) / body.rib_spacing + body.rib_phase + shift
        offset = np.abs(phase % 1 - 0.5) * body.rib_spacing
        path += 0.34 * dome_of((offset / 0.028) ** 2) + 0.26 * dome_of(((offset - 0.024) / 0.007) ** 2)
    return body.bone * path * inside * edge(y + 0.66, 0.1) * edge(0.62 - y, 0.2)


def _sternum(body: Body, z: Array, y: Array, front: Array) -> Array:
    u = z - front + 0.030
    plate = dome_of((u / 0.024) ** 2) + 0.6 * dome_of(((np.abs(u) - 0.02) / 0.008) ** 2)
    joint = 1 - 0.5 * dome_of(((y + 0.30) / 0.02) ** 2)
    return 1.5 * body.bone * plate * joint * edge(y + 0.50, 0.06) * edge(0.20 - y, 0.06)


def _show(finding: Finding, lungs: dict[str, Side], z: Array, y: Array, size: int) -> Array:
    """Change the density of the lungs of a finding; return what it adds to the path, in centimetres."""
    rng, s = np.random.default_rng(finding.seed), finding.severity
    extra = np.zeros_like(z)
    height = ZONE_HEIGHT.get(finding.zone, 0.2) + rng.uniform(-0.05, 0.05)
    depth = ZONE_DEPTH.get(finding.zone, 0.2) + rng.uniform(-0.06, 0.06)
    if finding.kind == "Enlarged_Cardiomediastinum":
        return (3.0 + 4.0 * s) * dome_of(((z + 0.06) / (0.15 + 0.06 * s)) ** 2 + ((y + 0.30) / 0.30) ** 2)
    for side in [lungs[name] for name in sides_of(finding) if name in lungs]:
        if finding.kind == "Pleural_Effusion":
            rise = (0.04 + 0.50 * s) * (0.35 + 0.65 * np.clip((z + 0.1) / 0.5, 0, 1) ** 2 + 0.10 * (z < -0.3))
            _fill(side, edge(rise - side.floor, 0.05 + 0.04 * s))
        elif finding.kind in OPAQUE:
            radius = (0.17 + 0.12 * s) * (1 + 0.15 * field(rng, size, 7))
            shade = edge(1 - ((z - depth) ** 2 + (y - height) ** 2) / radius**2, 0.9)
            _fill(side, shade * np.float32(0.5 + 0.45 * s))
        elif finding.kind == "Edema":
            haze = np.exp(-((np.hypot(z - HILUM[0], y - HILUM[1]) / (0.30 + 0.16 * s)) ** 2))
            _fill(side, haze * np.float32(0.14 + 0.42 * s))
        elif finding.kind == "Atelectasis":
            line = (y - height - 0.25 * (z - depth)) / (0.022 + 0.016 * s)
            _fill(side, 0.6 * dome_of(line**2) * edge(0.22 - np.abs(z - depth), 0.1))
        elif finding.kind == "Lung_Lesion":
            size_of = 0.045 + 0.085 * s
            extra += (2.2 + 22 * size_of) * dome_of(((z - depth) ** 2 + (y - height) ** 2) / size_of**2)
    return extra


def _fill(side: Side, amount: Array) -> None:
    side.density += (np.float32(0.95) - side.density) * np.clip(amount, 0, 1)
