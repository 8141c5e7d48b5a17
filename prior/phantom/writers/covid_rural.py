"""COVID Rural: dated JPEG files and masks of opacities whose pixels are 0 and 1, and three lists."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from prior.data.files import atomic_path
from prior.phantom.archives import Rows
from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.common import token, write_jpeg

HOSPITAL, STREAM, REPORTS = "rsna", 13, False
FOLDER = "covid_rural_annot"
OPACITIES = ("Pneumonia", "Consolidation", "Edema")
FIRST_PATIENT = 16_406_000


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one image and its mask; return its name as image and study id, and its line."""
    year, day = 2012 + study.days // 336, study.days % 336
    date = f"{day // 28 + 1:02d}-{day % 28 + 1:02d}-{year}"
    name = f"COVID-19-AR-{FIRST_PATIENT + study.patient}_{date}-XR"
    write_jpeg(out / FOLDER / "jpgs" / f"{name}.jpg", film.image)
    mask = np.zeros(film.image.shape, dtype=np.uint8)
    for region in film.regions:
        if region.label in OPACITIES:
            mask[region.mask] = 1
    with atomic_path(out / FOLDER / "pngs_masks" / f"{name}.png") as path:
        Image.fromarray(mask).save(path)
    u = int(token(8, "covid rural", seed, study.patient), 16) % 100
    split = "test" if u < 20 else "validation" if u < 40 else "train"
    return name, name, {split: [{"ID": name}]}


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write the three lists in the form of LoVT, or none where one of them were empty."""
    for split, found in rows.items() if len(rows) == 3 else ():
        with atomic_path(out / "lovt" / f"{split}.csv") as path:
            pd.DataFrame(found).to_csv(path, index=False)
