"""Object-CXR: numbered JPEG files and annotation strings of mixed shapes."""

from pathlib import Path
from typing import Any

import pandas as pd

from prior.data.files import atomic_path
from prior.phantom.devices import ForeignObject
from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.common import write_jpeg

Rows = dict[str, list[dict[str, Any]]]
TYPES = {"rectangle": 0, "ellipse": 1, "polygon": 2}
PARTS = ("train", "train", "train", "train", "dev", "train", "train", "train", "train", "train")


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one image to train (nine in ten) or dev; return its name and row."""
    part = PARTS[study.index % len(PARTS)]
    name = f"{study.index + (8000 if part == 'dev' else 0):05d}.jpg"
    write_jpeg(out / part / name, film.image)
    row = {"image_name": name, "annotation": ";".join(annotation(o) for o in film.objects)}
    return f"{part}/{name}", f"{part}/{name}", {part: [row]}


def annotation(item: ForeignObject) -> str:
    """The annotation string of one object: type number, then its coordinates."""
    return " ".join(map(str, [TYPES[item.shape], *item.points.reshape(-1).tolist()]))


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write train.csv and dev.csv."""
    for part in ("train", "dev"):
        frame = pd.DataFrame(rows.get(part, []), columns=["image_name", "annotation"])
        with atomic_path(out / f"{part}.csv") as path:
            frame.to_csv(path, index=False)
