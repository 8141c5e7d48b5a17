"""SIIM-ACR Pneumothorax Segmentation, stage 1 (UID names) and stage 2 layouts."""

from pathlib import Path

import numpy as np
import pandas as pd

from prior.data.pixels import unreadable
from prior.datasets import base
from prior.datasets.nih_match import find_patients
from prior.datasets.published_lists import recognise
from prior.errors import InputError

NO_MASK = "-1"


def read(root: Path) -> base.RawDataset:
    """Read images and run-length masks; several rows of one image are kept as several masks.

    Patients are known if the folder also says which NIH images these are (`nih_match.find_patients`).

    Raises:
        InputError: a table, column, value or image file is missing or wrong.
    """
    base.require_folder(root, "siim", "dicom-images-train/ and train-rle.csv, or stage_2_images/")
    table, folder, layout = _find_layout(root)
    frame = base.read_csv(table, ["ImageId", "EncodedPixels"])
    base.require_present(frame, "ImageId", table)
    base.require_present(frame, "EncodedPixels", table)
    files = {path.stem: path.relative_to(root).as_posix() for path in sorted(folder.rglob("*.dcm"))}
    match = find_patients(root, "ImageId")
    patients = None if match is None else match[0]
    listed = frame["ImageId"].drop_duplicates().tolist()
    names = [name for name in listed if patients is None or name in patients]
    lost = [name for name in names if name not in files]
    if lost:
        raise InputError(
            f"{folder}: image {lost[0]}.dcm of {table} does not exist ({len(lost)} of {len(names)} are "
            "missing); copy the images or remove their rows"
        )
    masked = (frame["EncodedPixels"] != NO_MASK) & frame["ImageId"].isin(names)
    masks = _masks(frame[masked], root, files, table)
    positive = set(masks["image_id"])
    return base.RawDataset(
        name="siim",
        layout=layout + (f", with {match[1]}" if match else ", without patient key"),
        root=root,
        images=_images(names, patients, files),
        labels=pd.DataFrame({"image_id": names, "Pneumothorax": [float(n in positive) for n in names]}),
        masks=masks,
        patient_family=None if match is None else "nih",
        table_rows=frame["ImageId"],
        dropped=_dropped(files, set(listed), set(names)),
        notes={table.name: recognise(table, "siim", "all")},
    )


def _find_layout(root: Path) -> tuple[Path, Path, str]:
    known = (
        ("train-rle.csv", "dicom-images-train", "stage 1, UID names"),
        ("stage_2_train.csv", "stage_2_images", "stage 2"),
    )
    for table, folder, layout in known:
        if (root / table).is_file() and (root / folder).is_dir():
            return root / table, root / folder, layout
    expected = "; ".join(f"{table} beside {folder}/" for table, folder, _ in known)
    raise InputError(f"{root} is no SIIM-ACR folder; expected {expected}")


def _dropped(files: dict[str, str], listed: set[str], used: set[str]) -> list[dict[str, str]]:
    unlisted, unmatched = "image without a row in the table", "no reliable match to an NIH patient"
    return [
        {"source": source, "reason": unmatched if name in listed else unlisted}
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
    shapes: dict[str, tuple[int, int]] = {}
    for position, name, encoded in zip(frame.index, frame["ImageId"], frame["EncodedPixels"], strict=True):
        if name not in shapes:
            shapes[name] = dicom_shape(root / files[name])
        try:
            rle = relative_to_coco(encoded, *shapes[name])
        except ValueError as error:
            raise InputError(f"{table}, line {int(position) + 2}, column 'EncodedPixels': {error}") from None
        rows.append((name, "Pneumothorax", rle))
    return pd.DataFrame(rows, columns=["image_id", "label", "rle"], dtype=str)


def relative_to_coco(encoded: str, height: int, width: int) -> str:
    """Turn (offset from the end of the last run, length) pairs, column by column, into COCO RLE.

    COCO's uncompressed counts are the same alternation of gaps and runs, closed by the last gap.

    Raises:
        ValueError: no numbers in pairs, or more pixels than the image has.
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
    packed = coco.frPyObjects({"size": [height, width], "counts": [*counts, rest]}, height, width)
    return str(packed["counts"].decode("ascii"))


def dicom_shape(path: Path) -> tuple[int, int]:
    """Return rows and columns of a DICOM file from its header."""
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        return int(header.Rows), int(header.Columns)
    except Exception as error:  # damaged headers raise many unrelated types
        raise unreadable(path, f"{type(error).__name__}: {error}") from None
