"""Masks that a dataset stores as 0/255 PNG files."""

from pathlib import Path

import numpy as np

from prior.data.pixels import open_raster
from prior.errors import InputError


def read_mask(path: Path, height: int, width: int) -> str:
    """Return the COCO RLE of a PNG mask.

    Args:
        path: the mask.
        height: rows of its image.
        width: columns of its image.

    Raises:
        InputError: the file is missing, will not open, has another size than its image or marks nothing, as a
            mask of 0 and 1 would.
    """
    from pycocotools import mask as coco

    if not path.is_file():
        raise InputError(f"{path} does not exist; copy the mask or remove its row")
    with open_raster(path) as image:
        values = np.asarray(image.convert("L"))
    if values.shape != (height, width):
        raise InputError(
            f"{path} has {values.shape[0]}x{values.shape[1]} pixels, its image {height}x{width}; "
            "replace the mask or remove its row"
        )
    if values.max() <= 127:
        raise InputError(
            f"{path} marks nothing (its brightest value is {values.max()}, expected 0 and 255); "
            "replace the mask or remove its row"
        )
    packed = coco.encode(np.asfortranarray(values > 127, dtype=np.uint8))
    return str(packed["counts"].decode("ascii"))
