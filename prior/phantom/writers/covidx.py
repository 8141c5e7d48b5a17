"""COVIDx, list versions 9A, 6, 9B, CXR-4: lines of 3 to 5 fields, the source misspelt at times.

As in the original, pneumonias come from RSNA and COVID-19 films from elsewhere, so that the source of a film
gives much of its class away. RSNA's films are those of the RSNA writer, and
`nih_patient_map.csv` names the NIH image that each matches.
"""

import uuid
from pathlib import Path

import pandas as pd

from prior.data.files import atomic_path, write_text
from prior.phantom.archives import Rows
from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.common import nih_image, token, write_jpeg
from prior.phantom.writers.rsna import FIRST_PATIENT

HOSPITAL, STREAM, REPORTS = "rsna", 0, False
CXR4 = "CXR-4"
ELSEWHERE = ("cohen", "bimcv", "sirm", "stonybrook")


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int, layout: str = "9A"
) -> tuple[str, str, Rows]:
    """Write one image; return `<side>_<file>` as image and study id, its line, and its match to NIH."""
    number = int(token(8, "covidx", seed, study.patient), 16)
    side = "test" if number % 5 == 0 else "val" if layout == CXR4 and number % 5 == 1 else "train"
    kinds = {finding.kind for finding in study.findings}
    opaque = bool(kinds & {"Pneumonia", "Consolidation"})
    film_of_rsna = number % 7 < 4
    label = "normal" if not opaque else "pneumonia" if film_of_rsna else "COVID-19"
    if layout != "9A":
        label = "positive" if label == "COVID-19" else "negative"
    name = str(uuid.UUID(token(32, "rsna", seed, study.index)))
    if film_of_rsna:
        patient, source = name, "rnsa" if number % 3 else "rsna"
    else:
        blank = " " if number % 4 == 0 else "-"
        patient, source = f"sub{blank}S{study.patient:05d}", ELSEWHERE[number % len(ELSEWHERE)]
    file = f"{name}.jpg" if film_of_rsna else f"case{study.index:05d}.jpg"
    write_jpeg(out / side / file, film.image)
    fields = [patient, file, label, *([] if number % 11 == 0 else [source])]
    rows: Rows = {side: [{"line": " ".join(fields)}]}
    if film_of_rsna:
        image = nih_image(study.patient, study.order, FIRST_PATIENT)
        rows["matches"] = [{"patientId": name, "nih_image": image, "error": 2.0}]
    return f"{side}_{file}", f"{side}_{file}", rows


def write_tables(out: Path, rows: Rows, seed: int, layout: str = "9A") -> None:
    """Write the lists and the match to NIH."""
    for side in ("train", "val", "test") if layout == CXR4 else ("train", "test"):
        lines = [item["line"] for item in rows.get(side, [])]
        name = f"{side}.txt" if layout == CXR4 else f"{side}_COVIDx{layout}.txt"
        write_text(out / name, "\n".join(lines) + "\n")
    if "matches" in rows:
        with atomic_path(out / "nih_patient_map.csv") as path:
            pd.DataFrame(rows["matches"]).to_csv(path, index=False)
