"""ChestX-Det: class-agnostic lesion masks and boxes on NIH images (Liu et al. 2020; Apache-2.0)."""

from pathlib import Path

import pandas as pd

from prior.datasets import base, nih_images
from prior.datasets.png_masks import read_mask
from prior.datasets.raw_files import require_inside

LABEL = "Lesion"


def read(root: Path) -> base.RawDataset:
    """Read the images that the radiologists of ChestX-Det looked at, those without a lesion included.

    Raises:
        InputError: a folder, table, column, value, image or mask file is missing or wrong.
    """
    frame = nih_images.read_table(root, "chestx_det")
    chosen = frame[frame["chestx_det"].notna()].reset_index(drop=True)
    boxes = nih_images.read_boxes(root, frame["image_id"])
    boxes = boxes[(boxes["origin"] == nih_images.CHESTX_DET) & boxes["image_id"].isin(chosen["image_id"])]
    present = (chosen["chestx_det"] != "none").astype(float)
    return base.RawDataset(
        name="chestx_det",
        layout=f"{nih_images.FOLDER} (chestx_det)",
        root=root,
        images=nih_images.image_records(chosen),
        labels=pd.DataFrame({"image_id": chosen["image_id"], LABEL: present}),
        boxes=boxes.drop(columns="origin").assign(label=LABEL).reset_index(drop=True),
        masks=_masks(root, chosen, frame["image_id"]),
        patient_family=nih_images.FAMILY,
        notes={"classes": "13 classes of lesions merged into one"},
    )


def _masks(root: Path, chosen: pd.DataFrame, known: pd.Series) -> pd.DataFrame:
    path = root / nih_images.FOLDER / "masks.csv"
    frame = base.read_csv(path, ["image", "mask"])
    base.require_present(frame, "mask", path)
    nih_images.require_listed(frame, known, path)
    require_inside(frame["mask"], path)
    frame["image_id"] = nih_images.image_ids(frame["image"])
    sized = frame.merge(chosen[["image_id", "h", "w"]], on="image_id", how="inner")
    rows = [
        (image, LABEL, read_mask(root / nih_images.FOLDER / mask, int(height), int(width)))
        for image, mask, height, width in zip(
            sized["image_id"], sized["mask"], sized["h"], sized["w"], strict=True
        )
    ]
    return pd.DataFrame(rows, columns=["image_id", "label", "rle"], dtype=str)
