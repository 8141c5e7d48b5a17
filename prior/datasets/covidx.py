"""COVIDx with the lists of versions 6, 9A and 9B or of CXR-4 (Wang et al. 2020)."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.keys import bucket, patient_keys, split_of
from prior.datasets import base
from prior.datasets.nih_match import UNMATCHED, find_patients
from prior.errors import InputError

NAME = "covidx"
SIDES = {"train": "train", "val": "validation", "test": "test"}
THREE, TWO = ("normal", "pneumonia", "COVID-19"), ("positive", "negative")
COVID = "COVID_19"
RSNA, MISSPELT = "rsna", "rnsa"
RSNA_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# images in the published lists (train, validation, test)
PUBLISHED = {"6": (14311, 0, 200), "9A": (30130, 0, 400), "9B": (30482, 0, 400), "CXR-4": (67863, 8473, 8482)}


def read(root: Path) -> base.RawDataset:
    """Read the lists in `root` (or `labels/`) and the images in `train/`, `test/` and, for CXR-4, `val/`.

    A line is `patient file class source`; a space inside the patient and a missing source are understood.
    RSNA's films carry image ids in place of patients, so patients are known only with `nih_patient_map.csv`
    of the RSNA folder. The key is then that of NIH, with every other patient as `covidx-<patient>`.

    Raises:
        InputError: a list, line or image is missing or wrong, or lists of two versions are there.
    """
    base.require_folder(root, NAME, "train/, test/ and the lists of one version")
    version, lists = _find_lists(root)
    rows = pd.concat([_read_list(root, side, path) for side, path in lists.items()], ignore_index=True)
    columns = _label_columns(rows, lists["train"])
    counts = tuple(int((rows["side"] == side).sum()) for side in SIDES)
    complete = (
        "as many images as published" if counts == PUBLISHED.get(version) else "not as many as published"
    )
    rows, family, dropped, keyed = _with_patients(root, rows)
    images = _images(rows)
    if "val" not in lists:
        hashed = patient_keys(images, family, NAME).map(lambda key: split_of(bucket(key)))
        own = (images["official_split"] == "train") & (hashed == "validation")
        images["official_split"] = images["official_split"].mask(own, "validation")
    labels = {name: (rows["class"].isin(words)).astype(float) for name, words in columns.items()}
    return base.RawDataset(
        name=NAME,
        layout=f"list version {version} ({complete}), {keyed}",
        root=root,
        images=images,
        labels=pd.DataFrame({"image_id": rows["image_id"], **labels}),
        patient_family=family,
        dropped=dropped,
        notes={
            "class_by_source": class_by_source(rows),
            "repeated_lines": int(rows["repeats"].sum()),
            "misspelt_sources": {MISSPELT: int((rows["source"] == MISSPELT).sum())},
        },
    )


def _find_lists(root: Path) -> tuple[str, dict[str, Path]]:
    folders = [root, root / "labels"]
    named = sorted(path for folder in folders for path in folder.glob("train_COVIDx*.txt"))
    plain = [folder / "train.txt" for folder in folders if (folder / "train.txt").is_file()]
    if len(named) + len(plain) > 1:
        both = ", ".join(path.name for path in [*named, *plain])
        raise InputError(f"{root} holds lists of several versions ({both}); leave those of one version")
    if not named and not plain:
        raise InputError(
            f"{root / 'train_COVIDx9A.txt'} (or of another version, or train.txt) is missing; "
            "copy the lists of one version there"
        )
    first = (named or plain)[0]
    lists = {side: first.with_name(first.name.replace("train", side, 1)) for side in SIDES}
    lists = {side: path for side, path in lists.items() if path.is_file() or side != "val"}
    if not lists["test"].is_file():
        raise InputError(f"{lists['test']} is missing beside {first.name}; copy it there")
    version = first.stem.removeprefix("train").removeprefix("_COVIDx").strip("_")
    return version or ("CXR-4" if "val" in lists else "unknown"), lists


def _read_list(root: Path, side: str, path: Path) -> pd.DataFrame:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text ({error}); replace the file") from None
    folder = next((root / place for place in (side, f"data/{side}") if (root / place).is_dir()), root / side)
    files = {file.name.lower(): file.relative_to(root).as_posix() for file in sorted(folder.glob("*"))}
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_line(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}; correct or remove the line") from None
        name = str(row["file"])
        if name in rows and rows[name]["class"] != row["class"]:
            raise InputError(
                f"{path}, line {number}: {name} has another class than in an earlier line; "
                "correct or remove the line"
            )
        repeats = rows[name]["repeats"] + 1 if name in rows else 0
        source = files.get(name.lower(), f"{side}/{name}")
        place = {"side": side, "image_id": f"{side}_{name}", "path": source}
        rows[name] = row | place | {"repeats": repeats}
    if not rows:
        raise InputError(f"{path} has no lines; replace the file")
    return pd.DataFrame(list(rows.values()))


def parse_line(line: str) -> dict[str, str | None]:
    """Read `patient file class source` from the right: patients may hold spaces, the source may be missing.

    Raises:
        ValueError: the line has no class or too few fields.
    """
    fields = line.split()
    classes = (*THREE, *TWO)
    source = fields.pop() if len(fields) > 3 and fields[-2] in classes else None
    if len(fields) < 3 or fields[-1] not in classes:
        raise ValueError(f"expected patient, file, class (one of {', '.join(classes)}) and source")
    *patient, file, label = fields
    if "/" in file or "\\" in file:
        raise ValueError(f"{file!r} is not the name of a file in the folder of its list")
    return {"patient": " ".join(patient), "file": file, "class": label, "source": source}


def _label_columns(rows: pd.DataFrame, path: Path) -> dict[str, tuple[str, ...]]:
    """Return label column -> words of the list that mean it is present."""
    found = set(rows["class"])
    if found <= set(THREE):
        return {"Normal": ("normal",), "Pneumonia": ("pneumonia",), COVID: ("COVID-19",)}
    if found <= set(TWO):
        return {COVID: ("positive",)}
    raise InputError(
        f"{path} and its neighbours mix the classes of two versions ({', '.join(sorted(found))}); "
        "use the lists of one version"
    )


def _with_patients(
    root: Path, rows: pd.DataFrame
) -> tuple[pd.DataFrame, str | None, list[dict[str, str]], str]:
    """Add patient_id; return also the family of the key, what was dropped, and a description."""
    rsna = rows["source"].isin((RSNA, MISSPELT)) | rows["patient"].map(
        lambda patient: RSNA_ID.fullmatch(patient) is not None
    )
    rows = rows.assign(patient_id="covidx-" + rows["patient"])
    if not rsna.any():
        return rows, NAME, [], "patients of the lists"
    match = find_patients(root, "patientId")
    if match is None:
        return rows, None, [], "without patient key (RSNA's films are not matched)"
    numbers = rows["patient"].map(match[0])
    rows["patient_id"] = rows["patient_id"].mask(rsna, numbers)
    lost = rsna & numbers.isna()
    dropped = [{"source": str(path), "reason": UNMATCHED} for path in rows.loc[lost, "path"]]
    return rows[~lost].reset_index(drop=True), "nih", dropped, f"with {match[1]}"


def _images(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": rows["image_id"],
            "study_id": rows["image_id"],
            "patient_id": rows["patient_id"],
            "study_order": base.study_order(rows["patient_id"], rows["image_id"]),
            "view": None,
            "sex": None,
            "age": np.nan,
            "site": rows["source"].replace(MISSPELT, RSNA),
            "source": rows["path"],
            "official_split": rows["side"].map(SIDES),
        }
    )


def class_by_source(rows: pd.DataFrame) -> dict[str, Any]:
    """Say how far the source of an image gives its class away.

    Args:
        rows: class and source of every image.

    Returns:
        `images` per source and class, `sources_of_one_class`, and the accuracy of answering every image with
        the commonest class of its source, beside that of the commonest class of all.
    """
    sources = rows["source"].replace(MISSPELT, RSNA).fillna("unknown")
    table = pd.crosstab(sources, rows["class"])
    counts = table.to_dict(orient="index")
    return {
        "images": {str(k): {str(c): int(n) for c, n in row.items() if n} for k, row in counts.items()},
        "sources_of_one_class": [str(name) for name in table.index[(table > 0).sum(axis=1) == 1]],
        "accuracy_from_source_alone": round(float(table.max(axis=1).sum() / len(rows)), 4),
        "accuracy_of_commonest_class": round(float(table.sum(axis=0).max() / len(rows)), 4),
    }
