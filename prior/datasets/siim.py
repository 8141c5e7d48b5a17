"""SIIM-ACR Pneumothorax Segmentation in its three layouts: stage 1 (UID names), stage 2, and a PNG copy."""

from pathlib import Path

import numpy as np
import pandas as pd

from prior.data.pixels import image_shape
from prior.datasets import base
from prior.datasets.cells import require
from prior.datasets.nih_match import UNMATCHED, find_patients
from prior.datasets.png_masks import read_mask
from prior.datasets.published_lists import recognise
from prior.datasets.raw_files import require_inside
from prior.errors import InputError

NO_MASK = "-1"
LABEL = "Pneumothorax"
RLE_LAYOUTS = (
    ("train-rle.csv", ("dicom-images-train", "dicom-images-test"), "stage 1, UID names"),
    ("stage_2_train.csv", ("stage_2_images",), "stage 2"),
)
PNG_LISTS = {"stage_1_train_images.csv": "train", "stage_1_test_images.csv": "test"}
PNG_FOLDER = "siim-acr-pneumothorax"
EXPECTED = "; ".join(
    [f"{table} beside {folders[0]}/" for table, folders, _ in RLE_LAYOUTS]
    + [f"{next(iter(PNG_LISTS))} beside png_images/ and png_masks/"]
)


def read(root: Path) -> base.RawDataset:
    """Read images and masks; several run-length rows of one image are kept as several masks.

    Patients are known if the folder also says which NIH images these are (`nih_match.find_patients`).

    Raises:
        InputError: a table, column, value or mask is missing or wrong.
    """
    base.require_folder(root, "siim", EXPECTED)
    for table, folders, layout in RLE_LAYOUTS:
        path = next((root / name for name in (table, f"{table}.gz") if (root / name).is_file()), None)
        if path is not None and (root / folders[0]).is_dir():
            return _read_rle(root, path, folders, layout)
    for folder in (root, root / PNG_FOLDER):
        if (folder / next(iter(PNG_LISTS))).is_file():
            return _read_png(folder)
    raise InputError(f"{root} is no SIIM-ACR folder; expected {EXPECTED}")


def _read_rle(root: Path, table: Path, folders: tuple[str, ...], layout: str) -> base.RawDataset:
    frame = base.read_csv(table, ["ImageId", "EncodedPixels"])
    base.require_present(frame, "ImageId", table)
    base.require_present(frame, "EncodedPixels", table)
    plain = ~frame["ImageId"].str.contains("/", regex=False)
    require(plain, frame, "ImageId", "the name of an image without folder and ending", table)
    masked = frame["EncodedPixels"] != NO_MASK
    first = masked.groupby(frame["ImageId"]).transform("first")
    wanted = f"like that of an earlier row of the image, {NO_MASK} or runs"
    require(masked == first, frame, "EncodedPixels", wanted, table)
    found = _find_films(root, folders)
    listed = frame["ImageId"].drop_duplicates().tolist()
    files = {name: found.get(name, f"{folders[0]}/{name}.dcm") for name in listed}
    patients, matched = _patients(root)
    names = [name for name in listed if patients is None or name in patients]
    masked &= frame["ImageId"].isin(names)
    masks = _masks(frame[masked], root, files, table)
    positive = set(frame.loc[masked, "ImageId"])
    return base.RawDataset(
        name="siim",
        layout=f"{layout}, {matched}",
        root=root,
        images=_images(names, patients, files),
        labels=pd.DataFrame({"image_id": names, LABEL: [float(name in positive) for name in names]}),
        masks=masks,
        patient_family=None if patients is None else "nih",
        table_rows=frame["ImageId"],
        dropped=_dropped(found | files, set(listed), set(names)),
        notes={table.name: recognise(table, "siim", "all")},
    )


def _find_films(root: Path, folders: tuple[str, ...]) -> dict[str, str]:
    """Return ImageId -> path of the DICOM files anywhere below the folders."""
    found: dict[str, str] = {}
    for path in (path for folder in folders for path in sorted((root / folder).rglob("*"))):
        if path.suffix.lower() != ".dcm":
            continue
        source = path.relative_to(root).as_posix()
        if path.stem in found:
            raise InputError(
                f"{root}: {found[path.stem]} and {source} have the same name; remove one of them"
            )
        found[path.stem] = source
    return found


def _read_png(folder: Path) -> base.RawDataset:
    """Read the PNG copy, whose lists give each file its ImageId of stage 1."""
    parts = []
    for name, side in PNG_LISTS.items():
        path = folder / name
        frame = base.read_csv(path, ["new_filename", "ImageId", "has_pneumo"])
        for column in ("new_filename", "ImageId", "has_pneumo"):
            base.require_present(frame, column, path)
        for column in ("new_filename", "ImageId"):
            base.require_unique(frame, column, path)
        base.require_values(frame, "has_pneumo", ("0", "1"), path)
        require_inside(frame["new_filename"], path)
        parts.append(frame.assign(side=side))
    rows = pd.concat(parts, ignore_index=True)
    twice = rows["ImageId"][rows["ImageId"].duplicated()]
    if len(twice):
        raise InputError(f"{folder}: image {twice.iloc[0]} is in both lists; use the lists as released")
    sources = base.find_files(folder, "png_images/" + rows["new_filename"])
    files = dict(zip(rows["ImageId"], sources, strict=True))
    patients, matched = _patients(folder)
    rows = rows if patients is None else rows[rows["ImageId"].isin(list(patients))]
    names = rows["ImageId"].tolist()
    masks = []
    positive = rows[rows["has_pneumo"] == "1"]
    for name, file in zip(positive["ImageId"], positive["new_filename"], strict=True):
        shape = image_shape(folder / files[name])
        if shape is not None:
            masks.append((name, LABEL, read_mask(folder / "png_masks" / file, *shape)))
    return base.RawDataset(
        name="siim",
        layout=f"PNG copy, {matched}",
        root=folder,
        images=_images(names, patients, files).assign(official_split=rows["side"].to_numpy()),
        labels=pd.DataFrame({"image_id": names, LABEL: rows["has_pneumo"].astype(float).to_numpy()}),
        masks=pd.DataFrame(masks, columns=["image_id", "label", "rle"], dtype=str),
        patient_family=None if patients is None else "nih",
        dropped=_dropped(files, set(files), set(names)),
    )


def _patients(root: Path) -> tuple[dict[str, str] | None, str]:
    match = find_patients(root, "ImageId")
    return (None, "without patient key") if match is None else (match[0], f"with {match[1]}")


def _dropped(files: dict[str, str], listed: set[str], used: set[str]) -> list[dict[str, str]]:
    unlisted = "image without a row in the table"
    return [
        {"source": source, "reason": UNMATCHED if name in listed else unlisted}
        for name, source in files.items()
        if name not in used
    ]


def _images(names: list[str], patients: dict[str, str] | None, files: dict[str, str]) -> pd.DataFrame:
    owners = pd.Series(names if patients is None else [patients[name] for name in names], dtype=str)
    return pd.DataFrame(
        {
            "image_id": names,
            "study_id": names,
            "patient_id": owners,
            "study_order": base.study_order(owners, pd.Series(names)),
            "view": None,
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": [files[name] for name in names],
        }
    )


def _masks(frame: pd.DataFrame, root: Path, files: dict[str, str], table: Path) -> pd.DataFrame:
    rows = []
    shapes: dict[str, tuple[int, int] | None] = {}
    for position, name, encoded in zip(frame.index, frame["ImageId"], frame["EncodedPixels"], strict=True):
        if name not in shapes:
            shapes[name] = image_shape(root / files[name])
        shape = shapes[name]
        if shape is None:
            continue
        try:
            rle = relative_to_coco(encoded, *shape)
        except ValueError as error:
            raise InputError(f"{table}, line {int(position) + 2}, column 'EncodedPixels': {error}") from None
        rows.append((name, LABEL, rle))
    return pd.DataFrame(rows, columns=["image_id", "label", "rle"], dtype=str)


def relative_to_coco(encoded: str, height: int, width: int) -> str:
    """Turn (offset from the end of the last run, length) pairs, column by column, into COCO RLE.

    COCO's uncompressed counts are the same alternation of gaps and runs, closed by the last gap.

    Raises:
        ValueError: no numbers in pairs, no pixel, or more pixels than the image has.
    """
    from pycocotools import mask as coco

    try:
        counts = [int(number) for number in encoded.split()]
    except ValueError:
        raise ValueError("not a list of whole numbers; expected pairs of offset and length") from None
    if not counts or len(counts) % 2 or min(counts) < 0:
        raise ValueError("not pairs of offset and length (or -1 for no mask)")
    rest = height * width - sum(counts)
    if rest < 0:
        raise ValueError(f"the runs cover {sum(counts)} pixels, the image {height}x{width} has fewer")
    if not any(counts[1::2]):
        raise ValueError(f"the runs mark no pixel; expected {NO_MASK} for no mask")
    packed = coco.frPyObjects({"size": [height, width], "counts": [*counts, rest]}, height, width)
    return str(packed["counts"].decode("ascii"))
