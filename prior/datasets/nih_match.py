"""Which NIH ChestX-ray14 patient an image of another challenge shows (RSNA and SIIM drew from NIH)."""

import re
from pathlib import Path

from prior.datasets import base
from prior.datasets.raw_files import read_json
from prior.errors import InputError

MATCH = "nih_patient_map.csv"
MAX_ERROR = 10.0
UNMATCHED = "no reliable match to an NIH patient"  # reason of what a reader leaves out
NUMBER = re.compile("[0-9]{1,8}")


def find_patients(root: Path, name_column: str) -> tuple[dict[str, str], str] | None:
    """Return image -> NIH patient number and what it comes from, or None if `root` holds neither source.

    Sources are RSNA's mapping (`*mappings*.json`: subset_img_id, img_id) and a nearest-image match
    (`nih_patient_map.csv`: image, nih_image, error of the match), whose matches with an error above 10
    are left out (torchxrayvision, scripts/CrossReferenceWithNIH).

    Args:
        root: raw folder.
        name_column: column of the match that names the image.

    Raises:
        InputError: a file is there but not in its format.
    """
    mappings = sorted(root.glob("*mappings*.json"))
    if mappings:
        return _read_mapping(mappings[0]), "RSNA's mapping to NIH"
    path = root / MATCH
    if not path.is_file():
        return None
    frame = base.read_csv(path, [name_column, "nih_image", "error"])
    base.require_present(frame, name_column, path)
    base.require_unique(frame, name_column, path)
    frame = base.to_numbers(frame, ["error"], path)
    close = frame[frame["error"] <= MAX_ERROR]
    pairs = zip(close[name_column], close["nih_image"], strict=True)
    return {name: _patient(image, path) for name, image in pairs}, "a nearest-image match to NIH"


def _read_mapping(path: Path) -> dict[str, str]:
    try:
        rows = [(str(row["subset_img_id"]), str(row["img_id"])) for row in read_json(path)]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected a list of objects with subset_img_id and img_id ({error!r}); "
            "use the file as released"
        ) from None
    patients = {name: _patient(image, path) for name, image in rows}
    if len(patients) < len(rows):
        raise InputError(f"{path} names an image twice; use the file as released")
    return patients


def _patient(image: str, path: Path) -> str:
    """Return the patient number of an NIH image name: `00000061_012.png` -> `61`."""
    number = str(image).split("_", maxsplit=1)[0]
    if not NUMBER.fullmatch(number):
        raise InputError(f"{path}: {image!r} is no NIH image name such as 00000061_012.png; correct it")
    return str(int(number))
