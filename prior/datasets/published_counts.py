"""How many images, boxes and masks the published data sets have, so that an incomplete download shows."""

from prior.datasets.base import RawDataset
from prior.datasets.nih_match import UNMATCHED

CHEXPERT = {"train images": 223_414, "train patients": 64_540, "validation images": 234}
# As counted on the released tables and lists; those of SIIM are of its first stage.
COUNTS = {
    "mimic_cxr": {"images": 377_110},
    "chexpert": CHEXPERT,
    "chexpert_plus": CHEXPERT,
    "rsna": {"images": 26_684, "images with boxes": 6_012, "boxes": 9_555},
    "siim": {"images": 12_047, "images with masks": 2_669},
    "object_cxr": {
        "train images": 8_000,
        "validation images": 1_000,
        "test images": 1_000,
        "train boxes": 8_223,
        "validation boxes": 1_015,
    },
    "nih_chestxray14": {"images": 112_120, "images with boxes": 880, "boxes": 984},
    "chestx_det_release": {"images": 3_578},
    "covid_rural": {"images": 221},
    "iu_xray": {"train studies": 2_069, "validation studies": 296, "test studies": 590},
    "ms_cxr": {"pairs": 1_162},
}
STAGE_2 = "stage 2,"


def beside_published(raw: RawDataset) -> str | None:
    """Say whether a raw folder holds as much as was published.

    Images without a match to NIH count though the reader left them out; what is marked on them is not known,
    so only images are compared then. Sides, boxes and masks that the folder does not hold are not compared.

    Returns:
        What agrees, or what does not with the published number in brackets; None where no number is known.
    """
    published = COUNTS.get(raw.name, {})
    if raw.name == "siim" and raw.layout.startswith(STAGE_2):
        return None
    found = count(raw)
    both = {what: (found[what], number) for what, number in published.items() if what in found}
    wrong = [f"{have:,} {what} ({number:,})" for what, (have, number) in both.items() if have != number]
    if wrong:
        return "not as published: " + ", ".join(wrong)
    return (
        "as published: " + ", ".join(f"{have:,} {what}" for what, (have, _) in both.items()) if both else None
    )


def count(raw: RawDataset) -> dict[str, int]:
    """Count images, studies, patients, annotations, and these by official side where there is one."""
    lost = sum(item["reason"] == UNMATCHED for item in raw.dropped)
    found = {"images": len(raw.images) + lost}
    for table in ("boxes", "masks"):
        frame = getattr(raw, table)
        if frame is not None and len(frame) and not lost:
            found |= {table: len(frame), f"images with {table}": int(frame["image_id"].nunique())}
    if "pairs" in raw.notes:
        found["pairs"] = int(raw.notes["pairs"])
    if "official_split" not in raw.images or lost:
        return found
    sides = raw.images.set_index("image_id")["official_split"]
    for side, part in raw.images.groupby("official_split"):
        found[f"{side} images"] = len(part)
        found[f"{side} studies"] = int(part["study_id"].nunique())
        found[f"{side} patients"] = int(part["patient_id"].nunique())
        if raw.boxes is not None:
            found[f"{side} boxes"] = int((raw.boxes["image_id"].map(sides) == side).sum())
    return found
