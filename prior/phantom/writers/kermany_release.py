"""Kermany's pneumonia images as released: class folders, patient and pathogen in the file name.

A consolidation stands for a bacterial, a patchy pneumonia for a viral one; films with other findings only are
not written. The films are of adults: the phantom has no children.
"""

from pathlib import Path
from typing import Any

from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.common import token, write_jpeg

Rows = dict[str, list[dict[str, Any]]]
HOSPITAL, STREAM, REPORTS = "rsna", 2_000_003, False


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one JPEG if the film is normal or shows a pneumonia; return its name without ending."""
    kinds = {finding.kind for finding in study.findings}
    part = "test" if int(token(8, "kermany", study.patient), 16) % 8 == 0 else "train"
    pathogen = "bacteria" if "Consolidation" in kinds else "virus" if "Pneumonia" in kinds else None
    name = (
        f"person{study.patient + 1}_{pathogen}_{study.index + 1}"
        if pathogen
        else f"IM-{study.patient + 1:04d}-{study.order + 1:04d}"
    )
    if pathogen or not kinds:
        kind = "PNEUMONIA" if pathogen else "NORMAL"
        write_jpeg(out / "chest_xray" / part / kind / f"{name}.jpeg", film.image)
    return name, name, {}


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write nothing: the release has no table."""
