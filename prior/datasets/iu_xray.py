"""IU X-ray (Open-i): images with reports of Indiana University, in any of three layouts.

The collection itself is XML with PNG images (Demner-Fushman et al. 2016), a widely used copy is a pair of csv
files, and R2Gen (Chen et al. 2020) shipped `annotation.json` with the split that report generation uses.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.datasets import base
from prior.datasets.iu_xray_xml import NUMBER, find_reports, read_reports
from prior.datasets.open_i import NORMAL, TERMS, report_findings
from prior.datasets.raw_files import read_json, require_inside, require_list, storable, whole_ids
from prior.errors import InputError

ANNOTATION, REPORTS, PROJECTIONS = "annotation.json", "indiana_reports.csv", "indiana_projections.csv"
SPLITS = {"train": "train", "val": "validation", "test": "test"}
VIEWS = {"Frontal": None, "Lateral": "LATERAL"}
CSV_FOLDERS = ("images/images_normalized", "images_normalized", "images", ".")
XML_FOLDERS = ("NLMCXR_png", "images", "png", ".")
UNCODED = {"no indexing", "technical quality of image unsatisfactory"}
EXPECTED = (
    f"ecgen-radiology/ or NLMCXR_reports.tgz beside NLMCXR_png/, {REPORTS} and {PROJECTIONS} beside images/, "
    f"or {ANNOTATION} beside images/"
)

Layout = tuple[str, pd.DataFrame, pd.DataFrame]


def read(root: Path) -> base.RawDataset:
    """Read the XML, the csv or the R2Gen layout; `annotation.json` in any of them gives the official split.

    Every examination has its own number and, as the collection has one per patient, its own patient. Only the
    csv files tell frontal from lateral images; without them all images take part in splits (see the notes).

    Raises:
        InputError: the folder has none of the layouts, or a file, column, value or image is missing or wrong.
    """
    base.require_folder(root, "iu_xray", EXPECTED)
    layout, studies, pictures = _read_layout(root)
    reports, dropped = _reports(studies, set(pictures["uid"]))
    sides = _official(root)
    return base.RawDataset(
        name="iu_xray",
        layout=layout + (f", split of {ANNOTATION}" if sides else ""),
        root=root,
        images=_images(pictures, sides),
        labels=_labels(studies, pictures),
        reports=reports,
        patient_family="iu_xray",
        dropped=dropped,
        notes={
            "patients": "one examination per patient in the collection: its number is the patient key",
            "views": "frontal and lateral as listed" if pictures["view"].notna().any() else "not stated",
        },
    )


def _read_layout(root: Path) -> Layout:
    if (root / ANNOTATION).is_file() and not (root / REPORTS).is_file() and find_reports(root) is None:
        return _read_r2gen(root)
    if (root / REPORTS).is_file():
        return _read_csv(root)
    if find_reports(root) is not None:
        return _read_xml(root)
    raise InputError(f"{root} is no IU X-ray folder; expected {EXPECTED}")


def _read_csv(root: Path) -> Layout:
    path, listing = root / REPORTS, root / PROJECTIONS
    table = base.read_csv(path, ["uid", "MeSH", "Problems", "findings", "impression"])
    base.require_present(table, "uid", path)
    table["uid"] = whole_ids(table["uid"])
    base.require_unique(table, "uid", path)
    studies = pd.DataFrame(
        {
            "uid": table["uid"],
            "findings": table["findings"].fillna(""),
            "impression": table["impression"].fillna(""),
            "major": [_tags(cell) for cell in table["MeSH"]],
            "automatic": [_tags(cell) for cell in table["Problems"]],
        }
    )
    listed = base.read_csv(listing, ["uid", "filename", "projection"])
    for name in ("uid", "filename", "projection"):
        base.require_present(listed, name, listing)
    base.require_unique(listed, "filename", listing)
    base.require_values(listed, "projection", VIEWS, listing)
    pictures = _located(root, listed["filename"], CSV_FOLDERS, listing).assign(
        uid=whole_ids(listed["uid"]), view=listed["projection"].map(VIEWS)
    )
    return "csv files", studies, pictures


def _tags(cell: object) -> list[str]:
    return [tag.strip().lower() for tag in str(cell).split(";")] if isinstance(cell, str) else []


def _read_xml(root: Path) -> Layout:
    where, studies, listed = read_reports(root)
    if listed.empty:
        raise InputError(f"{where} names no image (parentImage); use the reports as released")
    pictures = _located(root, listed["name"] + ".png", XML_FOLDERS, where)
    return f"XML reports in {where.name}", studies, pictures.assign(uid=listed["uid"], view=None)


def _read_r2gen(root: Path) -> Layout:
    path = root / ANNOTATION
    items = [item for _, item in _annotation(path)]
    rows = [(_number(item["id"]), name) for item in items for name in item["image_path"]]
    names = pd.Series([name for _, name in rows], dtype=str)
    require_inside(names, path)
    source = base.find_files(root, "images/" + names)
    pictures = pd.DataFrame({"image_id": _stem(names), "source": source}).assign(
        uid=[uid for uid, _ in rows], view=None
    )
    studies = pd.DataFrame(
        {
            "uid": [_number(item["id"]) for item in items],
            "findings": [item["report"].strip() for item in items],
            "impression": "",
        }
    )
    return f"R2Gen {ANNOTATION}", studies, pictures


def _annotation(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the items of `annotation.json` with the name of their list."""
    content = read_json(path)
    found: list[tuple[str, dict[str, Any]]] = []
    seen: set[str] = set()
    for name in SPLITS:
        if not isinstance(content, dict) or name not in content:
            raise InputError(f"{path} has no list {name!r}; use the file as released by R2Gen")
        for item in require_list(content[name], ("id", "report", "image_path"), path, name):
            names = item["image_path"]
            if not isinstance(item["id"], str) or not isinstance(item["report"], str):
                raise InputError(f"{path}: id or report of {item['id']!r} in {name!r} is no text; correct it")
            if not isinstance(names, list) or not names or not all(isinstance(file, str) for file in names):
                raise InputError(f"{path}: 'image_path' of {item['id']} is no list of file names; correct it")
            study, report = storable(item["id"]), storable(item["report"])
            if not NUMBER.fullmatch(_number(study)):
                raise InputError(f"{path}: id {study!r} is none such as CXR2384_IM-0942; correct it")
            if _number(study) in seen:
                raise InputError(f"{path}: id {study} occurs twice; use the file as released by R2Gen")
            seen.add(_number(study))
            found.append((name, {"id": study, "report": report, "image_path": [*map(storable, names)]}))
    return found


def _official(root: Path) -> dict[str, str]:
    """Return uid -> side of R2Gen's split, empty if the folder does not hold it."""
    path = root / ANNOTATION
    return {_number(item["id"]): SPLITS[name] for name, item in _annotation(path)} if path.is_file() else {}


def _number(study: str) -> str:
    """Return `2384` of `CXR2384_IM-0942` and of `CXR2384`."""
    return study.split("_")[0].removeprefix("CXR")


def _stem(names: pd.Series) -> pd.Series:
    """Return `CXR2_IM-0942_0` of `CXR2_IM-0942/0.png` and `1_IM-0001-4001` of `1_IM-0001-4001.dcm.png`."""
    return names.str.replace(r"(\.dcm)?\.(png|jpe?g)$", "", case=False, regex=True).str.replace("/", "_")


def _located(root: Path, names: pd.Series, folders: tuple[str, ...], listed_in: Path) -> pd.DataFrame:
    """Find the folder that holds the images, else name the first; the case of endings does not matter."""
    require_inside(names, listed_in)
    folder = next((name for name in folders if any((root / name).glob("*.[pP][nN][gG]"))), folders[0])
    found = {path.name.lower(): path.name for path in (root / folder).glob("*")}
    actual = names.map(lambda name: found.get(name.lower(), name))
    source = actual if folder == "." else folder + "/" + actual
    return pd.DataFrame({"image_id": _stem(names), "source": source})


def _reports(studies: pd.DataFrame, shown: set[str]) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Return the reports with text of the studies that have images, and what was left out."""
    written = studies["findings"].ne("") | studies["impression"].ne("")
    pictured = studies["uid"].isin(shown)
    dropped = [
        {"source": f"report {uid}", "reason": reason}
        for chosen, reason in ((~pictured, "report without image"), (pictured & ~written, "empty report"))
        for uid in studies.loc[chosen, "uid"]
    ]
    kept = studies[written & pictured]
    if kept.empty:
        raise InputError("iu_xray: no image has a report; use reports and images of the same release")
    return pd.DataFrame(
        {
            "study_id": kept["uid"],
            "patient_id": kept["uid"],
            "text": [_text(*pair) for pair in zip(kept["findings"], kept["impression"], strict=True)],
            "findings": kept["findings"].where(kept["findings"].ne("")),
            "impression": kept["impression"].where(kept["impression"].ne("")),
        }
    ).reset_index(drop=True), dropped


def _text(findings: str, impression: str) -> str:
    parts = {"FINDINGS": findings, "IMPRESSION": impression}
    return "\n\n".join(f"{name}: {text}" for name, text in parts.items() if text)


def _images(pictures: pd.DataFrame, sides: dict[str, str]) -> pd.DataFrame:
    images = pd.DataFrame(
        {
            "image_id": pictures["image_id"],
            "study_id": pictures["uid"],
            "patient_id": pictures["uid"],
            "study_order": 0,
            "view": pictures["view"],
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": pictures["source"],
        }
    )
    return images.assign(official_split=pictures["uid"].map(sides)) if sides else images


def _labels(studies: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame | None:
    """Return the findings that the indexers coded; missing where a report was not coded."""
    if "major" not in studies:
        return None
    rows = []
    for uid, major, automatic in zip(studies["uid"], studies["major"], studies["automatic"], strict=True):
        coded = bool(major) and not UNCODED & set(major)
        found = report_findings(major, automatic)
        rows.append({"uid": uid, **{name: float(found[name]) if coded else np.nan for name in found}})
    coded_labels = pd.DataFrame(rows, columns=["uid", *TERMS, NORMAL])
    joined = pictures[["image_id", "uid"]].merge(coded_labels, on="uid", how="left")
    return joined.drop(columns="uid")
