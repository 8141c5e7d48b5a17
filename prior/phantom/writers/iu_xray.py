"""IU X-ray in its three layouts: two csv files with PNG, and in folders `open_i/` (XML) and `r2gen/` (json).

Every examination has a frontal and a lateral film. As in the collection, some reports lack a section or both,
and some were not indexed.
"""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from prior.data.files import atomic_path, write_json
from prior.phantom.film import Film
from prior.phantom.findings import Finding
from prior.phantom.hospital import Study, generator
from prior.phantom.lateral import take_lateral
from prior.phantom.radiograph import SCANNERS
from prior.phantom.report import Report
from prior.phantom.writers.common import token

Rows = dict[str, list[dict[str, Any]]]
HOSPITAL, STREAM, REPORTS = "mimic_cxr", 1_000_003, True
HEADINGS = {
    "Cardiomegaly": "Cardiomegaly", "Edema": "Pulmonary Edema", "Consolidation": "Consolidation",
    "Pneumonia": "Pneumonia", "Atelectasis": "Pulmonary Atelectasis", "Pneumothorax": "Pneumothorax",
    "Pleural_Effusion": "Pleural Effusion", "Lung_Lesion": "Nodule", "Fracture": "Fractures, Bone",
    "Support_Devices": "Implanted Medical Device", "Enlarged_Cardiomediastinum": "Mediastinum",
    "Pleural_Other": "Thickening/pleura", "Lung_Opacity": "Opacity",
}  # fmt: skip
UNCODED, EMPTY = 13, 11


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write an examination, frontal and lateral, in all layouts; return frontal image, number and rows."""
    uid = study.index + 1
    name = f"{uid}_IM-{uid:04d}"
    findings, impression = sections(study, report)
    major = tags(study)
    rng = generator(seed + STREAM, HOSPITAL, 5, study.index)
    size = film.image.shape[0]
    lateral = take_lateral(study.body, study.pose, study.findings, SCANNERS[HOSPITAL], size, rng)
    images = {f"{name}-1001": film.image, f"{name}-2001": lateral}
    for stem, image in images.items():
        _write_png(out / "open_i" / "NLMCXR_png" / f"CXR{stem}.png", image)
        _write_png(out / "images" / "images_normalized" / f"{stem}.dcm.png", image)
    with atomic_path(out / "open_i" / "ecgen-radiology" / f"{uid}.xml") as path:
        path.write_bytes(report_xml(uid, findings, impression, major, [*images]))
    row = {
        "uid": uid, "MeSH": ";".join(major), "Problems": ";".join(tag.split("/")[0] for tag in major),
        "image": "PA and lateral views of the chest", "indication": "XXXX", "comparison": "None.",
        "findings": findings, "impression": impression,
    }  # fmt: skip
    rows: Rows = {
        "reports": [row],
        "projections": [
            {"uid": uid, "filename": f"{stem}.dcm.png", "projection": side}
            for stem, side in zip(images, ("Frontal", "Lateral"), strict=True)
        ],
    }
    if findings:
        files = [f"CXR{name}/{position}.png" for position in range(len(images))]
        for file, image in zip(files, images.values(), strict=True):
            _write_png(out / "r2gen" / "images" / file, image)
        item = {"id": f"CXR{name}", "report": findings, "image_path": files, "split": _side(uid)}
        rows["items"] = [item]
    return f"CXR{name}-1001", str(uid), rows


def sections(study: Study, report: Report | None) -> tuple[str, str]:
    """Return findings and impression as the collection has them: one line, blanks as XXXX."""
    if report is None or study.index % EMPTY == EMPTY - 1:
        return "", ""
    texts = [
        " ".join(sentence.text for sentence in report.sentences if sentence.section == name)
        for name in ("findings", "impression")
    ]
    return texts[0].replace("___", "XXXX"), texts[1].replace("___", "XXXX")


def tags(study: Study) -> list[str]:
    """Return the MeSH headings of an examination, with side as qualifier."""
    if study.index % UNCODED == UNCODED - 1:
        return ["No Indexing"]
    return [_tag(finding) for finding in study.findings] or ["normal"]


def _tag(finding: Finding) -> str:
    return "/".join(
        filter(None, (HEADINGS[finding.kind], "" if finding.side == "bilateral" else finding.side))
    )


def _side(uid: int) -> str:
    """About R2Gen's 7:1:2."""
    place = int(token(8, "r2gen", uid), 16) % 10
    return "train" if place < 7 else "val" if place < 8 else "test"


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary)


def report_xml(uid: int, findings: str, impression: str, major: list[str], stems: list[str]) -> bytes:
    """Return a report as the collection has it; `stems` are the names of its images."""
    root = ElementTree.Element("eCitation")
    ElementTree.SubElement(root, "uId", id=f"CXR{uid}")
    article = ElementTree.SubElement(ElementTree.SubElement(root, "MedlineCitation"), "Article")
    abstract = ElementTree.SubElement(article, "Abstract")
    texts = {"COMPARISON": "None.", "INDICATION": "XXXX", "FINDINGS": findings, "IMPRESSION": impression}
    for label, text in texts.items():
        ElementTree.SubElement(abstract, "AbstractText", Label=label).text = text or None
    mesh = ElementTree.SubElement(root, "MeSH")
    for tag in major:
        ElementTree.SubElement(mesh, "major").text = tag
    for stem in stems:
        image = ElementTree.SubElement(root, "parentImage", id=f"CXR{stem}")
        ElementTree.SubElement(image, "caption").text = "PA and lateral views of the chest"
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write the two csv files and R2Gen's json."""
    for name in ("reports", "projections"):
        with atomic_path(out / f"indiana_{name}.csv") as path:
            pd.DataFrame(rows[name]).to_csv(path, index=False)
    items = rows.get("items", [])
    lists = {side: [i for i in items if i["split"] == side] for side in ("train", "val", "test")}
    write_json(out / "r2gen" / "annotation.json", lists)
