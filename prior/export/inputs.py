"""What the commands are given: a bundle, images in files, and a place to write to."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prior.data.geometry import fit_image
from prior.data.pixels import load_pixels
from prior.encoders.bundle import Bundle, BundleInfo, load_bundle
from prior.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")


def open_bundle(path: Path) -> Bundle:
    """Open the bundle folder `path`.

    Raises:
        InputError: it is no folder, or holds no bundle.
    """
    if not path.is_dir():
        raise InputError(
            f"{path} is no folder; give the folder of a bundle, such as models/convirt-default-s0"
        )
    return load_bundle(path)


def require_absent(path: Path) -> None:
    """Raise `InputError` where `path` is there already."""
    if path.exists():
        raise InputError(f"{path} exists already; remove it or write to another path")


def image_files(paths: Iterable[Path]) -> list[Path]:
    """List the images: files as they are given, folders with everything below them, by name.

    Hidden files are left out.

    Raises:
        InputError: a path does not exist, or a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise InputError(f"{path} does not exist; give an image or a folder of images")
        inside = sorted(file for file in path.rglob("*") if _is_image(file))
        if not inside:
            raise InputError(f"{path} holds no image ({', '.join(SUFFIXES)}); give another folder")
        found += inside
    return found


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def trained_fit(info: BundleInfo) -> str:
    """How originals were brought into their square in pre-training; `pad` where nothing was trained."""
    return str(info.training.get("image", {}).get("fit", "pad"))


def load_squares(files: Sequence[Path], info: BundleInfo) -> NDArray[np.uint8]:
    """Decode files exactly as `prior prepare` does, for the input of one encoder.

    Args:
        files: n images.
        info: description of the bundle, which states the size and how originals are fitted.

    Returns:
        uint8 [n, size, size].

    Raises:
        InputError: a file cannot be decoded.
    """
    size, fit = info.image.input_size, trained_fit(info)
    squares = np.empty((len(files), size, size), dtype=np.uint8)
    for row, file in enumerate(files):
        # The same reduction of large JPEGs as in `prior.data.store`.
        picture = load_pixels(file, 2 * size)
        squares[row] = fit_image(picture.pixels, picture.height, picture.width, size, fit)
    return squares
