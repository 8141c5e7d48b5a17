"""The few closed forms all anatomy is made of; all take and give float arrays [H, W]."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def edge(distance: Array, width: float) -> Array:
    """Return a linear ramp from 0 to 1 across an edge of `width`, 0.5 at distance 0."""
    ramp: Array = np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0, 1)
    return ramp


def dome_of(distance: Array) -> Array:
    """Return the relative path through a ball: sqrt(1 - d^2) inside, 0 outside."""
    return np.sqrt(np.maximum(1 - distance, 0))


def fourth(values: Array) -> Array:
    """Return the fourth power by squaring, which is many times faster than the general power."""
    squared: Array = values * values
    return squared * squared
