"""What the writers share: stable names, image files, CheXpert's label columns."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prior.data.files import atomic_path
from prior.phantom.findings import Finding

CHEXPERT_LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other",
    "Fracture", "Support Devices",
)  # fmt: skip


def token(length: int, *key: object) -> str:
    """A stable hexadecimal name for `key`."""
    return hashlib.sha256("/".join(map(str, key)).encode()).hexdigest()[:length]


def shuffled_number(index: int, start: int, span: int, seed: int) -> int:
    """A number in [start, start + span) that differs for all indices below `span` and shows no order."""
    factor = 7_368_787  # prime, so it has an inverse modulo every span that is no multiple of it
    return start + (index * factor + seed * 104_729) % span


def write_jpeg(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a gray JPEG [H, W]."""
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, format="JPEG", quality=92)


def spaced(kind: str) -> str:
    """CheXpert's spelling of a finding."""
    return kind.replace("_", " ")


def opacity_named(findings: list[Finding]) -> bool:
    """Whether a labeller would also set Lung Opacity: vague shadows are called that."""
    return any(f.kind == "Pneumonia" or (f.kind == "Lung_Lesion" and f.severity < 0.3) for f in findings)


def nih_image(patient: int, order: int, base: int) -> str:
    """Name of an NIH ChestX-ray14 image: patient and follow-up number."""
    return f"{base + patient:08d}_{order:03d}.png"
