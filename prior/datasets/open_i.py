"""Reports of the Indiana University collection, Open-i (Demner-Fushman et al. 2016)."""

from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from prior.datasets.iu_xray_xml import from_archive
from prior.datasets.raw_files import parse_xml
from prior.errors import InputError

ARCHIVE = Path("open_i") / "NLMCXR_reports.tgz"
NORMAL = "No_Finding"
# MeSH headings and automatic tags, in lower case, that stand for a finding of NIH ChestX-ray14
TERMS: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("pulmonary atelectasis", "atelectasis", "atelectases"),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation", "consolidations"),
    "Edema": ("pulmonary edema", "edema", "edemas"),
    "Effusion": ("pleural effusion", "pleural effusions", "bilateral pleural effusion", "effusion"),
    "Emphysema": ("emphysema", "emphysemas", "pulmonary emphysema"),
    "Fibrosis": ("pulmonary fibrosis", "fibrosis"),
    "Hernia": ("hernia, hiatal", "hiatal hernia"),
    "Infiltration": ("infiltrate", "infiltrates", "airspace disease"),
    "Mass": ("mass", "masses", "lung mass"),
    "Nodule": ("nodule", "nodules", "lung nodule"),
    "Pleural_Thickening": ("thickening/pleura", "pleural thickening"),
    "Pneumonia": ("pneumonia", "pneumonias"),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
}


def read_open_i(root: Path) -> pd.DataFrame:
    """Read the reports that have findings and impression, in the order of their ids.

    Args:
        root: folder that holds `open_i/NLMCXR_reports.tgz`.

    Returns:
        uid, text, findings, impression, and one boolean column per finding and `No_Finding`.

    Raises:
        InputError: the archive is missing or damaged, has an examination twice, or no complete report.
    """
    path = root / ARCHIVE
    if not path.is_file():
        raise InputError(f"{path} is missing; copy the unmodified Open-i archive of reports there")
    rows = [_parse(parse_xml(data, name)) for name, data in from_archive(path)]
    if not rows:
        raise InputError(f"{path} holds no XML report; download it again")
    frame = pd.DataFrame(rows)
    frame = frame[frame["findings"].ne("") & frame["impression"].ne("") & frame["uid"].ne("")]
    if frame.empty or frame["uid"].duplicated().any():
        fault = "no report with findings and impression" if frame.empty else "one report twice"
        raise InputError(f"{path} holds {fault}; download it again")
    return frame.sort_values("uid").reset_index(drop=True)


def _parse(tree: ElementTree.Element) -> dict[str, str | bool]:
    uid = tree.find("uId")
    parts = {part.get("Label", ""): (part.text or "").strip() for part in tree.iter("AbstractText")}
    findings, impression = parts.get("FINDINGS", ""), parts.get("IMPRESSION", "")
    row: dict[str, str | bool] = {
        "uid": "" if uid is None else uid.get("id", ""),
        "text": f"FINDINGS: {findings}\n\nIMPRESSION: {impression}",
        "findings": findings,
        "impression": impression,
    }
    return row | report_findings(_tags(tree, "major"), _tags(tree, "automatic"))


def _tags(tree: ElementTree.Element, kind: str) -> list[str]:
    return [(tag.text or "").strip().lower() for tag in tree.iter(kind)]


def report_findings(major: list[str], automatic: list[str]) -> dict[str, bool]:
    """Translate MeSH headings (`heading/qualifier/...`) and automatic tags into findings."""
    tags = {*automatic, *major, *(tag.split("/")[0] for tag in major)}
    tags |= {"/".join(tag.split("/")[:2]) for tag in major}
    found = {name: any(term in tags for term in terms) for name, terms in TERMS.items()}
    return found | {NORMAL: major == ["normal"]}
