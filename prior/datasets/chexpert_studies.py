"""CheXpert's test set of 500 studies, whose labels were released apart from the images."""

from pathlib import Path

import pandas as pd

from prior.datasets import base
from prior.errors import InputError

# `groundtruth.csv` has a row for each study (column Study), `test_labels.csv` for each image (column Path).
TABLES = ("groundtruth.csv", "test_labels.csv", "test.csv")
FOLDER = "test"


def read_table(folder: Path, findings: tuple[str, ...]) -> tuple[Path, pd.DataFrame] | None:
    """Return the table and its rows for each image of `test/`, with the columns of `train.csv`.

    The release states neither sex nor age, and the view in the file name only.

    Args:
        folder: CheXpert.
        findings: label columns; `No Finding` may be missing.

    Returns:
        None if `folder` has no such table.

    Raises:
        InputError: the table has neither Path nor Study, or a study has no image.
    """
    path = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if path is None:
        return None
    wanted = [name for name in findings if name != "No Finding"]
    frame = base.read_csv(path, wanted)
    if "Path" not in frame:
        frame = _of_images(folder, path, frame)
    for name in ("Sex", "Age", "AP/PA", "No Finding"):
        if name not in frame:
            frame[name] = None
    lateral = frame["Path"].str.contains("lateral", na=False)
    return path, frame.assign(**{"Frontal/Lateral": lateral.map({True: "Lateral", False: "Frontal"})})


def _of_images(folder: Path, path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Repeat the row of each study for its images."""
    if "Study" not in frame:
        raise InputError(f"{path} has neither a column 'Path' nor 'Study'; use the file as released")
    base.require_present(frame, "Study", path)
    base.require_unique(frame, "Study", path)
    short = frame["Study"].str.strip("/").str.split("/").str[-2:].str.join("/")
    files = sorted(file for file in (folder / FOLDER).glob("*/*/*") if file.suffix.lower() == ".jpg")
    images = pd.DataFrame({"Path": [file.relative_to(folder).as_posix() for file in files]}, dtype=str)
    images["study"] = images["Path"].str.split("/").str[-3:-1].str.join("/")
    lost = short[~short.isin(images["study"])]
    if len(lost):
        raise InputError(
            f"{path} lists study {lost.iloc[0]}, of which {folder / FOLDER} has no image ({len(lost)} of "
            f"{len(short)} studies are missing); copy the test images there"
        )
    return images.merge(frame.assign(study=short), on="study").drop(columns="study")
