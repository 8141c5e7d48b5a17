"""Which boxes the pictures of detection show, and on which images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import write_pixels, write_predictions

from prior.data.files import read_json, write_json
from prior.metrics.detection import CORNERS
from prior.results.boxes import boxed_cases, detection_examples
from prior.results.cases import MAX_CASES


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path, pd.DataFrame]:
    stem = write_predictions(tmp_path, "detection", "prior", (0.001, 0.1, 1.0), (1, 0))
    frame = pd.read_parquet(f"{stem}.parquet")
    write_pixels(tmp_path / "rsna", frame["image_id"].unique())
    return Path(f"{stem}.parquet"), tmp_path / "rsna", frame


def test_as_many_of_the_best_predictions_as_true_boxes_of_one_cell(
    written: tuple[Path, Path, pd.DataFrame],
) -> None:
    path, prepared, frame = written
    images, true, found = boxed_cases(path, prepared)
    cell = frame[(frame["fraction"] == 0.1) & (frame["seed"] == 1)]
    names = sorted(cell.loc[cell["kind"] == "truth", "image_id"].unique())[:MAX_CASES]
    assert len(images) == len(true) == len(found) == MAX_CASES
    order = {name: number for number, name in enumerate(frame["image_id"].unique())}
    for name, image, own, best in zip(names, images, true, found, strict=True):
        assert (image == order[name]).all()
        of_image = cell[cell["image_id"] == name]
        assert own.tolist() == of_image.loc[of_image["kind"] == "truth", CORNERS].to_numpy().tolist()
        ranked = of_image[of_image["kind"] == "prediction"].nlargest(len(own), "score")
        assert best.tolist() == ranked[CORNERS].to_numpy().tolist()


def test_omitted_cells_are_not_shown_and_nothing_is_said_so(
    written: tuple[Path, Path, pd.DataFrame], tmp_path: Path
) -> None:
    path, prepared, _ = written
    info = read_json(path.with_suffix(".json"))
    cells = [cell for cell in info["cells"] if cell.get("omitted")]
    assert len(cells) == 2
    write_json(path.with_suffix(".json"), {**info, "cells": cells})
    images, true, found = boxed_cases(path, prepared)
    assert (len(images), true, found) == (0, [], [])
    detection_examples({"prior": path}, prepared, True, tmp_path / "empty")
    assert "Nothing to show" in (tmp_path / "empty.svg").read_text()


def test_pictures_are_byte_stable(written: tuple[Path, Path, pd.DataFrame], tmp_path: Path) -> None:
    path, prepared, _ = written
    for name in ("a", "b"):
        detection_examples({"prior": path, "random": path}, prepared, True, tmp_path / name)
    for suffix in (".svg", ".png"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    text = (tmp_path / "a.svg").read_text()
    assert "SIMULATED DATA" in text
    assert np.array_equal(*(boxed_cases(path, prepared)[0] for _ in range(2)))
