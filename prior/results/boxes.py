"""Pictures of true and predicted boxes, from the stored predictions of detection."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from prior.data.files import read_json
from prior.data.store import open_store
from prior.metrics.detection import CORNERS
from prior.metrics.rows import PRIMARY_FRACTION
from prior.results.cases import MAX_CASES, draw_cases
from prior.results.style import PALETTE


def detection_examples(files: Mapping[str, Path], prepared: Path, simulated: bool, out: Path) -> None:
    """Draw true boxes in blue and, as many in each image, the predictions of highest score in orange.

    Args:
        files: method → `.parquet` of its predictions, the `.json` beside it. Shown is the first seed at 10 %
            of the labels (where there is no such cell, the first one), and the first test images with a box.
        prepared: folder of the prepared data set, which holds the images.
        simulated: puts the warning into the title.
        out: path without suffix.
    """
    cases = {method: boxed_cases(path, prepared) for method, path in files.items()}
    text = "Detection: true boxes blue, the best predictions orange"
    draw_cases(cases, _draw, text, simulated, out)


def boxed_cases(path: Path, prepared: Path) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Read the cases of one method.

    Returns:
        Images uint8 [n, S, S]; n arrays [boxes, 4] of true boxes and n of predicted ones, in pixels.
    """
    info = read_json(path.with_suffix(".json"))
    done = [cell for cell in info["cells"] if not cell.get("omitted")]
    at_primary = [cell for cell in done if cell["fraction"] == PRIMARY_FRACTION]
    cell = next(iter([*at_primary, *done]), None)
    size, fit = info["bundle"]["image"]["input_size"], info["knobs"]["fit"]
    pixels = open_store(prepared / f"images_{size}_{fit}.npy")
    if cell is None:
        return pixels[:0], [], []
    fold = -1 if cell.get("fold") is None else cell["fold"]
    wanted = [("fraction", "==", cell["fraction"]), ("seed", "==", cell["seed"]), ("fold", "==", fold)]
    columns = ["image_id", "kind", "score", *CORNERS]
    frame = pd.read_parquet(path, columns=columns, filters=wanted).sort_values(
        "score", ascending=False, kind="stable"
    )
    truth, predicted = (frame[frame["kind"] == kind] for kind in ("truth", "prediction"))
    names = sorted(truth["image_id"].unique())[:MAX_CASES]
    true = [truth.loc[truth["image_id"] == name, CORNERS].to_numpy(float) for name in names]
    found = [
        predicted.loc[predicted["image_id"] == name, CORNERS].to_numpy(float)[: len(boxes)]
        for name, boxes in zip(names, true, strict=True)
    ]
    row = pd.read_parquet(prepared / "images.parquet", columns=["image_id", "row"]).set_index("image_id")[
        "row"
    ]
    return np.asarray(pixels[row.loc[names].to_numpy()]), true, found


def _draw(axes: Any, true: np.ndarray, found: np.ndarray) -> None:
    for boxes, colour in ((true, PALETTE[6]), (found, PALETTE[1])):
        for left, top, right, bottom in boxes:
            place = (left - 0.5, top - 0.5)
            axes.add_patch(
                Rectangle(place, right - left, bottom - top, fill=False, color=colour, linewidth=0.8)
            )
