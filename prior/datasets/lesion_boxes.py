"""Class-agnostic lesion boxes on NIH images: ChestX-Det where it was read, NIH's own boxes elsewhere."""

from pathlib import Path

import pandas as pd

from prior.datasets import base, nih_images

LABEL = "Lesion"


def read(root: Path) -> base.RawDataset:
    """Read the images with boxes of either source and those that ChestX-Det found free of lesions.

    Where an image has boxes of both sources, only ChestX-Det's count: NIH boxed one finding an image.

    Raises:
        InputError: a folder, table, column, value or image file is missing or wrong.
    """
    frame = nih_images.read_table(root, "lesion_boxes")
    boxes = nih_images.read_boxes(root, frame["image_id"])
    examined = set(frame.loc[frame["chestx_det"].notna(), "image_id"])
    from_nih = (boxes["origin"] == nih_images.NIH_BOXES) & ~boxes["image_id"].isin(examined)
    from_det = (boxes["origin"] == nih_images.CHESTX_DET) & boxes["image_id"].isin(examined)
    boxes = boxes[from_nih | from_det].reset_index(drop=True)
    chosen = frame[frame["image_id"].isin({*examined, *boxes["image_id"]})].reset_index(drop=True)
    present = chosen["image_id"].isin(boxes["image_id"]).astype(float)
    origins = boxes.groupby("origin")["image_id"].nunique()
    return base.RawDataset(
        name="lesion_boxes",
        layout=f"{nih_images.FOLDER} (boxes)",
        root=root,
        images=nih_images.image_records(chosen),
        labels=pd.DataFrame({"image_id": chosen["image_id"], LABEL: present}),
        boxes=boxes.drop(columns="origin").assign(label=LABEL),
        patient_family=nih_images.FAMILY,
        notes={"images_with_boxes_of": {str(origin): int(count) for origin, count in origins.items()}},
    )
