"""How an original image maps into its square in the store: x_store = x * scale_x + pad_x."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Fit = Literal["pad", "stretch"]
FITS: tuple[Fit, ...] = ("pad", "stretch")


class Placement(NamedTuple):
    """Where an image of `height` x `width` lies in its square."""

    width: int
    height: int
    pad_x: int
    pad_y: int


def placement(height: int, width: int, size: int, fit: str) -> Placement:
    """Place an original of `height` x `width` pixels in a square of `size` pixels.

    `pad` keeps the aspect ratio and centres the image; `stretch` fills the square.
    """
    if fit == "stretch":
        return Placement(size, size, 0, 0)
    longest = max(height, width)
    new_width, new_height = max(1, round(width * size / longest)), max(1, round(height * size / longest))
    return Placement(new_width, new_height, (size - new_width) // 2, (size - new_height) // 2)


def fit_image(pixels: NDArray[np.uint8], height: int, width: int, size: int, fit: str) -> NDArray[np.uint8]:
    """Resize `pixels` [h, w] of an original of `height` x `width` into its square [size, size]."""
    place = placement(height, width, size, fit)
    resized = Image.fromarray(pixels).resize(
        (place.width, place.height), Image.Resampling.BILINEAR, reducing_gap=3.0
    )
    return _into_square(np.asarray(resized), place, size)


def fit_mask(mask: NDArray[np.uint8], size: int, fit: str) -> NDArray[np.uint8]:
    """Resize a 0/1 mask [h, w] by area into its square [size, size], covered half or more being 1.

    A mask too small for that keeps its most covered pixel, so that a positive never turns empty.
    """
    height, width = mask.shape
    place = placement(height, width, size, fit)
    coverage = Image.fromarray(mask * np.uint8(255)).resize((place.width, place.height), Image.Resampling.BOX)
    covered = np.asarray(coverage)
    resized = (covered >= 128).astype(np.uint8)
    if mask.any() and not resized.any():
        resized[np.unravel_index(int(covered.argmax()), covered.shape)] = 1
        if not covered.any():
            resized[:] = 0
            y, x = (int(axis[0]) for axis in np.nonzero(mask))
            resized[y * place.height // height, x * place.width // width] = 1
    return _into_square(resized, place, size)


def _into_square(part: NDArray[np.uint8], place: Placement, size: int) -> NDArray[np.uint8]:
    square = np.zeros((size, size), dtype=np.uint8)
    square[place.pad_y : place.pad_y + place.height, place.pad_x : place.pad_x + place.width] = part
    return square
