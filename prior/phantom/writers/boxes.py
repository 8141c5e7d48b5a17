"""Boxes around the true regions of a film."""

import numpy as np
from numpy.typing import NDArray

SIDES = ("x_min", "y_min", "x_max", "y_max")


def bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return x_min, y_min, x_max, y_max of a mask [H, W] that is not empty; the last two are exclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
