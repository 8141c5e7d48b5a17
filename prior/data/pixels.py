"""Decode one radiograph (JPEG, PNG or DICOM) to 8-bit grey."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from prior.errors import InputError

MAX_PIXELS = 200_000_000  # that an image may declare; the largest films have about 30 million
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses twice as many, also in a JPEG inside a DICOM file
TOO_LARGE = f"it declares more than {MAX_PIXELS:,} pixels"
RASTER_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
DICOM_SUFFIXES = (".dcm", ".dicom")
LONGEST_REASON = 300  # characters

_VIEWS = {"AP": "AP", "PA": "PA", "LATERAL": "LATERAL", "LL": "LATERAL", "RL": "LATERAL"}
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
    if path.suffix.lower() not in DICOM_SUFFIXES:
        return _load_raster(path, at_least)
    with dicom_errors(path):
        return _load_dicom(path)


class Unreadable(InputError):
    """An image that will not open; `reason` says why, without its name."""

    def __init__(self, path: Path, reason: str) -> None:
        self.reason = " ".join(reason.split())[:LONGEST_REASON]
        super().__init__(
            f"{path}: the image cannot be decoded ({self.reason}); replace the file or remove its row"
        )


def image_shape(path: Path) -> tuple[int, int] | None:
    """Return rows and columns from the header of an image, None if it will not open.

    Readers that need a size to place annotations leave out those of such an image: decoding counts it.
    """
    try:
        if path.suffix.lower() in DICOM_SUFFIXES:
            import pydicom

            with dicom_errors(path):
                tags = ["Rows", "Columns"]
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
                return _checked_shape(header)
        with open_raster(path) as image:
            return image.height, image.width
    except Unreadable:
        return None


@contextmanager
def open_raster(path: Path) -> Iterator[Image.Image]:
    """Open a JPEG, PNG or similar; what fails while it is open is an `Unreadable`."""
    try:
        with Image.open(path, formats=RASTER_FORMATS) as image:
            yield image
    except InputError:
        raise
    except FileNotFoundError:
        raise Unreadable(path, "it does not exist") from None
    except Image.DecompressionBombError:
        raise Unreadable(path, TOO_LARGE) from None
    except UnidentifiedImageError:
        raise Unreadable(path, "it is no image") from None
    except Exception as error:  # Pillow's decoders raise many unrelated types on damaged files
        raise Unreadable(path, f"{type(error).__name__}: {error}") from None


@contextmanager
def dicom_errors(path: Path) -> Iterator[None]:
    """Turn whatever fails while a DICOM file is read into an `Unreadable`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ages without unit and the like; what matters is checked
            yield
    except InputError:
        raise
    except FileNotFoundError:
        raise Unreadable(path, "it does not exist") from None
    except _Refused as error:
        raise Unreadable(path, str(error)) from None
    except Image.DecompressionBombError:
        raise Unreadable(path, TOO_LARGE) from None
    except Exception as error:  # pydicom and its decoders raise many unrelated types on damaged files
        raise Unreadable(path, f"{type(error).__name__}: {error}") from None


class _Refused(Exception):
    """A DICOM file that is not read though it may be whole."""


def _load_raster(path: Path, at_least: int) -> Picture:
    with open_raster(path) as image:
        width, height = image.size
        if at_least and image.format == "JPEG":
            image.draft("L", (at_least, at_least))
        if image.mode in ("I;16", "I;16B", "I", "F"):
            return Picture(_to_bytes(np.asarray(image, dtype=np.float32)), height, width)
        return Picture(np.asarray(image.convert("L")), height, width)


def _load_dicom(path: Path) -> Picture:
    import pydicom
    from pydicom.filereader import read_file_meta_info
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
    from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

    syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:
        raise _Refused("a deflated data set can unpack to any size")
    data = pydicom.dcmread(path)
    height, width = _checked_shape(data)
    if int(data.get("NumberOfFrames") or 1) != 1 or int(data.SamplesPerPixel) != 1:
        raise _Refused("expected one grey frame")
    if syntax == JPEGBaseline8Bit:  # decoders differ in the last bit here: always the same one
        data.pixel_array_options(decoding_plugin="pillow")
    stored = data.pixel_array
    if stored.shape != (height, width):
        raise _Refused(f"expected one grey frame, found an array of shape {stored.shape}")
    windowed = _is_windowed(data)
    values = apply_modality_lut(stored, data)
    if windowed:
        values = apply_voi_lut(values, data)
    if stored.dtype == np.uint8 and not windowed:
        pixels = stored.copy()
    else:
        pixels = _to_bytes(np.asarray(values, dtype=np.float32))
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = 255 - pixels
    return Picture(pixels, height, width, _header(data))


def _checked_shape(header: Any) -> tuple[int, int]:
    height, width = int(header.Rows), int(header.Columns)
    if height * width > MAX_PIXELS:
        raise _Refused(TOO_LARGE)
    if height < 1 or width < 1:
        raise _Refused(f"it declares {height} x {width} pixels")
    return height, width


def _is_windowed(data: Any) -> bool:
    """Whether the file says which values to show; some files have the elements without a value."""
    window = (data.get("WindowCenter"), data.get("WindowWidth"))
    return bool(data.get("VOILUTSequence")) or not any(value is None or value == "" for value in window)


def _header(data: Any) -> dict[str, Any]:
    """Read what subgroups need: view (AP, PA, LATERAL), sex (F, M) and age in years."""
    view, sex = str(data.get("ViewPosition", "")), str(data.get("PatientSex", ""))
    written = str(data.get("PatientAge", ""))
    number = written.rstrip("DWMY")
    age = float(number) / _AGE_UNITS.get(written[-1:], 1.0) if number.isdigit() else None
    return {
        "view": _VIEWS.get(view.strip()),
        "sex": sex if sex in ("F", "M") else None,
        "age": age if age is not None and age <= 130 else None,
    }


def _to_bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stretch the range of `values` to 0..255."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(high - low):
        raise ValueError("grey values are not finite")
    scale = 255.0 / (high - low) if high > low else 0.0
    stretched: NDArray[np.uint8] = np.rint((values - low) * scale).astype(np.uint8)
    return stretched
