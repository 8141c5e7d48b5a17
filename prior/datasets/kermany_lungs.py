"""Lung segmentation on the Kermany images that have a human mask (masks: v7labs, CC BY 4.0)."""

from pathlib import Path

from prior.datasets import base, kermany


def read(root: Path) -> base.RawDataset:
    """Read the images with a lung mask, normal ones included; an image without one is not a negative.

    Raises:
        InputError: a folder, table, column, value, image or mask file is missing or wrong.
    """
    frame = kermany.read_table(root, "kermany_lungs")
    masked = frame["lung_mask"].notna()
    chosen = frame[masked].reset_index(drop=True)
    return base.RawDataset(
        name="kermany_lungs",
        layout=kermany.FOLDER,
        root=root,
        images=kermany.image_records(chosen),
        masks=kermany.read_masks(root, chosen),
        patient_family=kermany.FAMILY,
        dropped=[{"source": str(source), "reason": "no lung mask"} for source in frame.loc[~masked, "image"]],
    )
