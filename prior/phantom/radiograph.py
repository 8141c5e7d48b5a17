"""From maps to a film: Beer-Lambert, scatter, blur, quantum noise, display window, laterality marker."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from prior.phantom.anatomy import Scene
from prior.phantom.shapes import Array

TISSUE = 0.195  # attenuation per centimetre at chest energies, after beam hardening
BONE = 0.36
METAL = 1.6


@dataclass(frozen=True)
class Scanner:
    """What differs between hospitals: blur (fraction of the width), photons, scatter, window, curve."""

    blur: float = 0.0042
    photons: float = 12000.0
    scatter: float = 0.020
    low: float = 1.05
    high: float = 4.75
    gamma: float = 0.88


SCANNERS: dict[str, Scanner] = {
    "mimic_cxr": Scanner(),
    "chexpert": Scanner(blur=0.0046, photons=10500, scatter=0.022, gamma=0.92),
    "rsna": Scanner(blur=0.0040, photons=13000, low=1.00, gamma=0.84),
    "siim": Scanner(blur=0.0040, photons=12500, low=1.02, high=4.80, gamma=0.86),
    "object_cxr": Scanner(blur=0.0038, photons=14000, scatter=0.018, gamma=0.90),
}


def expose(scene: Scene, scanner: Scanner) -> NDArray[np.uint8]:
    """Project a scene to a display image [H, W]: bright is dense.

    Args:
        scene: finished maps; `density` is the lung's tissue share, 1 = water.
        scanner: properties of the site.
    """
    rng, bedside = scene.rng, scene.pose.view == "AP"
    water = np.maximum(scene.soft - scene.lung_path * (1 - scene.density) + scene.extra, 0)
    exponent = TISSUE * water + BONE * scene.bone + METAL * scene.metal
    size = exponent.shape[0]
    primary = gaussian_filter(np.exp(-exponent), scanner.blur * size * (1.25 if bedside else 1.0), truncate=3)
    dose = float(np.exp(rng.normal(0, 0.12)))
    scatter = scanner.scatter * (1.35 if bedside else 1.0)
    glare = scatter * _veil(primary)
    # Photons are those of a 192-pixel detector; more pixels share them, so noise is seen alike at all sizes.
    photons = scanner.photons * dose * (192 / size) ** 2
    signal = primary + glare
    noisy = signal + np.sqrt(signal / photons) * rng.standard_normal(signal.shape, dtype=np.float32)
    depth = -np.log(np.maximum(noisy, 1e-3))
    # Film processing sets the white end by what the body absorbs, so that large patients are not all white.
    dense = float(np.quantile(depth[::4, ::4], 0.96))
    high = 0.5 * (dense + scanner.high) + float(rng.normal(0, 0.12))
    low = scanner.low + 0.35 * (high - scanner.high) + float(rng.normal(0, 0.07))
    shown = np.clip((depth - low) / (high - low), 0, 1) ** (
        scanner.gamma * float(np.exp(rng.normal(0, 0.06)))
    )
    image = (shown * 255).astype(np.uint8)
    return _marker(image, scene)


def _veil(primary: Array) -> Array:
    """Broad scatter, made on a coarse grid because it has no detail."""
    step = 4 if primary.shape[0] % 4 == 0 else 1
    n = primary.shape[0] // step
    coarse = primary.reshape(n, step, n, step).mean((1, 3))
    smooth = gaussian_filter(coarse, 0.10 * n, truncate=2)
    return np.repeat(np.repeat(smooth, step, 0), step, 1)


def _marker(image: NDArray[np.uint8], scene: Scene) -> NDArray[np.uint8]:
    """Stamp the technician's L (or R) near the shoulder, at a place that varies."""
    size, rng = image.shape[0], scene.rng
    letter, left = ("L", False) if rng.random() < 0.8 else ("R", True)
    height = max(7, round(size * 0.055))
    x = rng.uniform(0.02, 0.08) * size
    x = x if left else size - x - height
    picture = Image.fromarray(image)
    place = (int(x), int(rng.uniform(0.03, 0.30) * size))
    ImageDraw.Draw(picture).text(place, letter, fill=int(rng.integers(215, 256)), font_size=height)
    return np.asarray(picture)
