"""CheXpert Plus beside CheXpert: the tree of the CheXpert writer and `df_chexpert_plus_240401.csv`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prior.data.files import atomic_path
from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers import chexpert

Rows = dict[str, list[dict[str, Any]]]
HOSPITAL, STREAM, REPORTS = "chexpert", 0, True
TABLE = "df_chexpert_plus_240401.csv"


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write the images as CheXpert; return their ids and rows and a row with the report for each image."""
    path, folder, rows = chexpert.write_study(out, study, film, report, seed)
    patient = path.split("/")[2]
    shared = {
        "deid_patient_id": patient,
        "patient_report_date_order": study.order + 1, "report": report.text if report else None,
        "section_findings": section(report, "findings"), "section_impression": section(report, "impression"),
        "age": study.body.age, "sex": "Male" if study.body.sex == "M" else "Female",
        "split": path.split("/")[1],
    }  # fmt: skip
    plus = [
        {"path_to_image": image["Path"].split("/", maxsplit=1)[1],
         "frontal_lateral": image["Frontal/Lateral"], "ap_pa": image["AP/PA"], **shared}
        for image in rows[path.split("/")[1]]
    ]  # fmt: skip
    return path, folder, rows | {"plus": plus}


def section(report: Report | None, name: str) -> str | None:
    """Return the sentences of a section behind a line break, as the table has them; None if there is none."""
    texts = [sentence.text for sentence in (report.sentences if report else ()) if sentence.section == name]
    return "\n" + " ".join(texts) if texts else None


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write CheXpert's tables and the table of reports."""
    chexpert.write_tables(out, rows, seed)
    with atomic_path(out / TABLE) as path:
        pd.DataFrame(rows["plus"]).sort_values("path_to_image", kind="stable").to_csv(path, index=False)
