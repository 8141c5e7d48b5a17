"""Real NIH images and labels in the form of the whole release, and as a user's own folder."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader, nih_images
from prior.datasets.nih_chestxray14 import FRAME

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("PRIOR_REAL" not in os.environ, reason="PRIOR_REAL names no folder of real data"),
]
SIDES = ["x_min", "y_min", "x_max", "y_max"]


def real() -> tuple[Path, pd.DataFrame]:
    root = Path(os.environ["PRIOR_REAL"])
    return root, nih_images.read_table(root, "nih_small")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, table = real()
    out = tmp_path_factory.mktemp("release")
    (out / "images_001" / "images").mkdir(parents=True)
    lines = [
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    ]
    for row in table.itertuples():
        (out / "images_001" / "images" / row.nih_index).symlink_to(root / nih_images.FOLDER / row.image)
        lines.append(
            f"{row.nih_index},{row.finding_labels},{row.follow_up:.0f},{row.patient_id},{row.age:03.0f}Y,"
            f"{row.sex},{row.view},2500,2048,0.168,0.168,"
        )
    (out / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n")
    boxes = nih_images.read_boxes(root, table["image_id"])
    boxes = boxes[boxes["origin"] == nih_images.NIH_BOXES].merge(table, on="image_id")
    lines = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    for row in boxes.itertuples():
        x, y = row.x_min * FRAME / row.w, row.y_min * FRAME / row.h
        width, height = (row.x_max - row.x_min) * FRAME / row.w, (row.y_max - row.y_min) * FRAME / row.h
        label = "Infiltrate" if row.label == "Infiltration" else row.label
        lines.append(f"{row.nih_index},{label},{x},{y},{width},{height},,,")
    (out / "BBox_List_2017.csv").write_text("\n".join(lines) + "\n")
    return out


def test_the_release_says_what_the_small_folder_says(release: Path) -> None:
    root, table = real()
    raw = load_reader("nih_chestxray14").read(release)
    assert raw.images[["image_id", "patient_id", "view", "sex", "age"]].equals(
        nih_images.image_records(table)[["image_id", "patient_id", "view", "sex", "age"]]
    )
    expected = table[list(nih_images.FINDINGS)].astype(float)
    assert (raw.labels[list(nih_images.FINDINGS)].to_numpy() == expected.to_numpy()).all()
    boxes = nih_images.read_boxes(root, table["image_id"])
    boxes = boxes[boxes["origin"] == nih_images.NIH_BOXES].reset_index(drop=True)
    assert len(raw.boxes) == len(boxes) == 49
    order = ["image_id", "label", *SIDES]
    mine, theirs = (frame[order].sort_values(order[:4]) for frame in (raw.boxes, boxes))
    assert np.allclose(mine[SIDES].to_numpy(), theirs[SIDES].to_numpy())


def test_the_release_is_prepared_by_patient(release: Path, tmp_path: Path) -> None:
    manifest = prepare("nih_chestxray14", release, tmp_path, 32, workers=2)
    assert manifest["counts"]["images"] == 1000
    assert manifest["counts"]["patients"] == 682
    assert not any(count for kind in manifest["leaks"]["strict"].values() for count in kind.values())


def test_a_folder_of_real_images(tmp_path: Path) -> None:
    root, table = real()
    chosen = table.head(100)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "images").symlink_to(root / nih_images.FOLDER / "images")
    columns = {
        "path": chosen["image"],
        **{name: chosen[name] for name in ("patient_id", "view", "sex", "age")},
    }
    findings = {name: chosen[name] for name in nih_images.FINDINGS}
    pd.DataFrame({**columns, **findings}).to_csv(tmp_path / "raw" / "images.csv", index=False)
    prepare("folder", tmp_path / "raw", tmp_path / "out", 32)
    data = PreparedDataset(tmp_path / "out")
    assert len(data.images) == 100
    assert data.labels["Pneumonia"].sum() == (chosen["Pneumonia"].astype(float) == 1).sum()
    assert set(data.split("strict", 0)["split"]) == {"train", "validation", "test"}
