"""Noise fields and the vascular pattern of the lungs."""

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from prior.phantom.anatomy import Scene
from prior.phantom.shapes import Array

VESSEL_ANGLES, VESSEL_RINGS = 44, 12


def field(rng: np.random.Generator, size: int, cells: int) -> Array:
    """Return smooth noise [size, size] with about `cells` bumps a side, mean 0, SD about 1."""
    coarse = rng.standard_normal((cells + 2, cells + 2), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)) * np.float32(
        1.4
    )


def vessels(scene: Scene) -> Array:
    """Centimetres of vessel per pixel of a frontal film."""
    angle = np.arctan2(scene.y + np.float32(0.05), np.abs(scene.x) - np.float32(0.18))
    path: Array = branches(scene.body.texture, scene.hilum, angle, 0.5 * (scene.x > 0)) * scene.lung
    return path.astype(np.float32)


def branches(seed: int, radius: Array, angle: Array, turned: Array | float) -> Array:
    """Centimetres of vessel per pixel: streaks from the hilum outwards, thinner with distance.

    Args:
        seed: the patient's pattern.
        radius: distance of the pixels from the hilum.
        angle: their direction from it, in radians.
        turned: share of a full turn, so that the two lungs differ.
    """
    table = np.random.default_rng(seed).standard_normal((2, VESSEL_ANGLES, VESSEL_RINGS))
    turn = (angle / (2 * np.pi) + turned) * (VESSEL_ANGLES - 1)
    ring = np.sqrt(radius) * (VESSEL_RINGS - 1)
    coarse = map_coordinates(table[0], [turn % VESSEL_ANGLES, ring], order=1, mode="grid-wrap")
    fine = map_coordinates(table[1], [(2.3 * turn) % VESSEL_ANGLES, ring * 1.7], order=1, mode="grid-wrap")
    trunk = np.maximum(1 - np.abs(coarse) * (2.6 + 3.0 * radius), 0) * np.exp(-radius / 0.26)
    twig = np.maximum(1 - np.abs(fine) * 2.8, 0) * np.exp(-radius / 0.40)
    path: Array = 1.9 * trunk + 1.0 * twig
    return path


def add_parenchyma(scene: Scene) -> None:
    """Give the lungs their vessels, a fine grain and a denser base (blood follows gravity)."""
    size = scene.x.shape[0]
    grain = field(scene.rng, size, 26) * np.float32(0.010) + field(scene.rng, size, 7) * np.float32(0.012)
    scene.density += grain + np.float32(0.05) * np.clip(scene.depth_below_apex - 0.4, 0, 0.8)
    scene.extra += vessels(scene)
