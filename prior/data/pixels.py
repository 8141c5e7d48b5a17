"""Decode one radiograph (JPEG, PNG or DICOM) to 8-bit grey."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from prior.errors import InputError

Image.MAX_IMAGE_PIXELS = None  # radiographs of 4,000 px a side are normal

_AGE_UNITS = {"D": 365.25, "W": 52.18, "M": 12.0}  # DICOM age strings: units per year


@dataclass
class Picture:
    """One decoded image.

    Attributes:
        pixels: uint8 [h, w], possibly smaller than the original.
        height: rows of the original.
        width: columns of the original.
        header: view, sex and age where the file itself states them.
    """

    pixels: NDArray[np.uint8]
    height: int
    width: int
    header: dict[str, Any] = field(default_factory=dict)


def load_pixels(path: Path, at_least: int = 0) -> Picture:
    """Decode `path` to grey values 0..255 with black air.

    Args:
        path: .jpg, .jpeg, .png, .dcm or .dicom.
        at_least: 0 for full size; otherwise a JPEG may be decoded smaller, its short side at least this.

    Raises:
        InputError: the file cannot be decoded.
    """
    try:
        if path.suffix.lower() in (".dcm", ".dicom"):
            return _load_dicom(path)
        return _load_raster(path, at_least)
    except InputError:
        raise
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, KeyError) as error:
        raise unreadable(path, f"{type(error).__name__}: {error}") from None
    except Exception as error:  # pydicom's decoders raise many unrelated types on damaged files
        raise unreadable(path, f"{type(error).__name__}: {error}") from None


def unreadable(path: Path, reason: str) -> InputError:
    """Return the error for an image that will not open."""
    return InputError(f"{path}: the image cannot be decoded ({reason}); replace the file or remove its row")


def _load_raster(path: Path, at_least: int) -> Picture:
    with Image.open(path) as image:
        width, height = image.size
        if at_least and image.format == "JPEG":
            image.draft("L", (at_least, at_least))
        if image.mode in ("I;16", "I;16B", "I", "F"):
            return Picture(_to_bytes(np.asarray(image, dtype=np.float32)), height, width)
        return Picture(np.asarray(image.convert("L")), height, width)


def _load_dicom(path: Path) -> Picture:
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ages without unit and the like; what matters is checked below
        data = pydicom.dcmread(path)
        stored, header = data.pixel_array, _header(data)
    if stored.ndim != 2:
        raise unreadable(path, f"expected one grey frame, found an array of shape {stored.shape}")
    windowed = "WindowWidth" in data or "VOILUTSequence" in data
    values = apply_modality_lut(stored, data)
    if windowed:
        values = apply_voi_lut(values, data)
    if stored.dtype == np.uint8 and not windowed:
        pixels = stored.copy()
    else:
        pixels = _to_bytes(np.asarray(values, dtype=np.float32))
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = 255 - pixels
    height, width = stored.shape
    return Picture(pixels, height, width, header)


def _header(data: Any) -> dict[str, Any]:
    """Read what subgroups need: view (AP, PA), sex (F, M) and age in years."""
    view, sex = str(data.get("ViewPosition", "")), str(data.get("PatientSex", ""))
    written = str(data.get("PatientAge", ""))
    number = written.rstrip("DWMY")
    age = float(number) / _AGE_UNITS.get(written[-1:], 1.0) if number.isdigit() else None
    return {
        "view": view if view in ("AP", "PA") else None,
        "sex": sex if sex in ("F", "M") else None,
        "age": age if age is not None and age <= 130 else None,
    }


def _to_bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stretch the range of `values` to 0..255."""
    low, high = float(values.min()), float(values.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    stretched: NDArray[np.uint8] = np.rint((values - low) * scale).astype(np.uint8)
    return stretched
