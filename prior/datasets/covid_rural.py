"""COVID Rural: films of a hospital in Arkansas with masks of opacities (Desai et al. 2020, Tang et al. 2020).

Masks are those of haimingt/opacity_segmentation_covid_chest_X_ray; LoVT (ECCV 2022) segments them.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.pixels import image_shape, open_raster
from prior.datasets import base
from prior.datasets.cells import index_images
from prior.errors import InputError

NAME = "covid_rural"
FOLDER = "covid_rural_annot"
LABEL = "Lung_Opacity"
STEM = r"COVID-19-AR-(\d+)_(\d{2})-(\d{2})-(\d{4})-XR"


def read(root: Path) -> base.RawDataset:
    """Read `covid_rural_annot/jpgs` and `pngs_masks`.

    Raises:
        InputError: a folder, image or mask is missing or wrong.
    """
    base.require_folder(root, NAME, f"{FOLDER}/jpgs and {FOLDER}/pngs_masks")
    folder = next((place for place in (root / FOLDER, root) if (place / "jpgs").is_dir()), root / FOLDER)
    found = index_images(root, [folder / "jpgs"])
    if not found:
        raise InputError(f"{folder / 'jpgs'} holds no image; unpack {FOLDER} there")
    names = pd.Series(list(found), dtype=str)
    parts = names.str.extract(f"^{STEM}$")
    if parts[0].isna().any():
        wrong = found[names[parts[0].isna()].iloc[0]]
        raise InputError(
            f"{root / wrong} is not named COVID-19-AR-<patient>_MM-DD-YYYY-XR; restore its name or remove it"
        )
    masks = _masks(root, folder / "pngs_masks", found)
    images = pd.DataFrame(
        {
            "image_id": names,
            "study_id": names,
            "patient_id": parts[0],
            "study_order": base.study_order(parts[0], parts[3] + parts[1] + parts[2], names),
            "view": None,
            "sex": None,
            "age": np.nan,
            "site": None,
            "source": names.map(found),
        }
    )
    return base.RawDataset(
        name=NAME,
        layout=FOLDER,
        root=root,
        images=images,
        labels=pd.DataFrame({"image_id": names, LABEL: names.isin(masks["image_id"]).astype(float)}),
        masks=masks,
        patient_family=NAME,
    )


def _masks(root: Path, folder: Path, found: dict[str, str]) -> pd.DataFrame:
    drawn = index_images(root, [folder])
    extra = sorted(set(drawn) - set(found))
    if extra:
        raise InputError(f"{root / drawn[extra[0]]} is the mask of no image; copy the image or remove it")
    rows = []
    for name, source in found.items():
        if name not in drawn:
            raise InputError(f"{folder / name}.png does not exist; copy the mask or remove its image")
        shape = image_shape(root / source)
        rle = None if shape is None else read_binary_mask(root / drawn[name], shape)
        if rle is not None:
            rows.append((name, LABEL, rle))
    return pd.DataFrame(rows, columns=["image_id", "label", "rle"], dtype=str)


def read_binary_mask(path: Path, shape: tuple[int, int]) -> str | None:
    """Return the COCO RLE of a mask whose pixels are 0 or not (1 here, 255 elsewhere); None if all are 0.

    Args:
        path: the mask.
        shape: rows and columns of its image.

    Raises:
        InputError: the file will not open or has another size than its image.
    """
    from pycocotools import mask as coco

    with open_raster(path) as image:
        values: NDArray = np.asarray(image if image.mode in ("1", "L", "P", "I") else image.convert("L"))
    if values.shape != shape:
        raise InputError(
            f"{path} has {values.shape[0]}x{values.shape[1]} pixels, its image {shape[0]}x{shape[1]}; "
            "replace the mask or remove both"
        )
    if not values.any():
        return None
    packed = coco.encode(np.asfortranarray(values != 0, dtype=np.uint8))
    return str(packed["counts"].decode("ascii"))
