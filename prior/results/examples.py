"""Pictures of single cases: true and predicted masks, heat maps, and what a retrieval query brings up."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.metrics.arrays import Bools
from prior.metrics.rows import method_labels
from prior.results.atlas import prototype_atlas
from prior.results.boxes import detection_examples
from prior.results.cases import draw_cases, load_cases
from prior.results.retrieved import retrieval_examples
from prior.results.style import PALETTE


def _outline(axes: Any, mask: Bools, colour: str) -> None:
    if mask.any():
        axes.contour(mask, levels=[0.5], colors=[colour], linewidths=0.8)


def segmentation_examples(files: Mapping[str, Path], prepared: Path, simulated: bool, out: Path) -> None:
    """Draw the same cases for every method: true outline in blue, predicted in orange.

    Args:
        files: method → `.npz` with `images` uint8 [n, H, W], `truth` and `predicted` bool [n, H, W].
        prepared: folder of the prepared data set; not read.
        simulated: puts the warning into the title.
        out: path without suffix.
    """

    def draw(axes: Any, true: np.ndarray, found: np.ndarray) -> None:
        _outline(axes, true, PALETTE[6])
        _outline(axes, found, PALETTE[1])

    text = "Segmentation: true outline blue, predicted outline orange"
    draw_cases(load_cases(files, ("images", "truth", "predicted")), draw, text, simulated, out)


def grounding_examples(files: Mapping[str, Path], prepared: Path, simulated: bool, out: Path) -> None:
    """Draw the heat maps of the same cases for every method, over the image, with the true outline.

    Args:
        files: method → `.npz` with `images` uint8 [n, H, W], `heat` in [0, 1] [n, H, W], `truth` bool
            [n, H, W].
        prepared: folder of the prepared data set; not read.
        simulated: puts the warning into the title.
        out: path without suffix.
    """

    def draw(axes: Any, heat: np.ndarray, true: np.ndarray) -> None:
        axes.imshow(heat.astype(np.float32), cmap="inferno", vmin=0, vmax=1, alpha=0.45)
        _outline(axes, true, PALETTE[6])

    text = "Grounding: heat map of the finding's phrases, true outline blue"
    draw_cases(load_cases(files, ("images", "heat", "truth")), draw, text, simulated, out)


DRAW: dict[str, Callable[[Mapping[str, Path], Path, bool, Path], None]] = {
    "segmentation": segmentation_examples,
    "detection": detection_examples,
    "retrieval": retrieval_examples,
    "grounding": grounding_examples,
    "prototypes": prototype_atlas,
}
"""Task → what draws its pictures from the methods' files, the data set's folder, a flag and the path."""
SUFFIXES = {"detection": ".parquet"}
"""Tasks that are drawn from their predictions; the others leave an archive beside them."""


def bundle_label(bundle: str) -> str:
    """`prior-described-s0` → `prior`, `lovt-global_only-s0` → `lovt (global_only)`."""
    method, variant = bundle.rpartition("-s")[0].split("-", 1)
    return str(
        method_labels(pd.DataFrame([{"method": method, "variant": variant, "pretraining_data": ""}]))[0]
    )


def examples(stems: Sequence[Path], prepared_root: Path, simulated: bool, out: Path) -> None:
    """Draw `examples_<task>_<dataset>_<protocol>-<setting>` of every evaluation of a task that has pictures.

    Of several pre-training seeds the first is shown; without files, the figure says so.

    Args:
        stems: prediction files without suffix; `<stem>.examples.npz` may lie beside them.
        prepared_root: `data/prepared`.
        simulated: puts the warning into titles.
        out: folder.
    """
    drawn: dict[tuple[str, str, str], dict[str, Path]] = {}
    for stem in sorted(stems):
        task, dataset, setting, bundle = stem.parts[-4:]
        if task in DRAW:
            files = drawn.setdefault((task, dataset, setting), {})
            if (file := Path(f"{stem}{SUFFIXES.get(task, '.examples.npz')}")).exists():
                files.setdefault(bundle_label(bundle), file)
    for (task, dataset, setting), files in drawn.items():
        ordered = {m: files[m] for m in sorted(files, key=lambda method: (method != "random", method))}
        DRAW[task](ordered, prepared_root / dataset, simulated, out / f"examples_{task}_{dataset}_{setting}")
