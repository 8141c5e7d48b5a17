"""Pictures of single cases: true and predicted masks, heat maps, and what a retrieval query brings up."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.metrics.arrays import Bools
from prior.results.atlas import prototype_atlas
from prior.results.panels import heading, subplots
from prior.results.style import INK, NEUTRAL, PALETTE, figure_style, save

MAX_CASES = 6
MAX_FINDINGS = 3


def _outline(axes: Any, mask: Bools, colour: str) -> None:
    if mask.any():
        axes.contour(mask, levels=[0.5], colors=[colour], linewidths=1.2)


def segmentation_examples(files: Mapping[str, Path], simulated: bool, out: Path) -> None:
    """Draw the same cases for every method: true outline in blue, predicted in orange.

    Args:
        files: method → `.npz` with `images` uint8 [n, H, W], `truth` and `predicted` bool [n, H, W].
        simulated: puts the warning into the title.
        out: path without suffix.
    """
    ordered = sorted(files, key=lambda method: (method != "random", method))
    cases = {method: _read_cases(files[method]) for method in ordered}
    columns = min(len(images) for images, _, _ in cases.values())
    if columns == 0:
        return
    with figure_style():
        figure, grid = subplots(len(cases), columns, (1.35 * columns + 0.6, 1.45 * len(cases) + 0.5))
        for line, (method, arrays) in zip(grid, cases.items(), strict=True):
            for axes, image, true, found in zip(line, *arrays, strict=False):
                axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                _outline(axes, true, PALETTE[6])
                _outline(axes, found, PALETTE[1])
                _frame(axes)
            line[0].set_ylabel(method)
        heading(figure, "Segmentation: true outline blue, predicted outline orange", simulated)
        save(figure, out)


def grounding_examples(files: Mapping[str, Path], simulated: bool, out: Path) -> None:
    """Draw the heat maps of the same cases for every bundle, over the image, with the true outline.

    Args:
        files: bundle → `.npz` with `images` uint8 [n, H, W], `heat` in [0, 1] [n, H, W], `truth` bool
            [n, H, W].
        simulated: puts the warning into the title.
        out: path without suffix.
    """
    cases = {}
    for bundle in sorted(files):
        with np.load(files[bundle], allow_pickle=False) as archive:
            cases[bundle] = [archive[key][:MAX_CASES] for key in ("images", "heat", "truth")]
    columns = min(len(images) for images, _, _ in cases.values())
    with figure_style():
        figure, grid = subplots(len(cases), columns, (1.35 * columns + 0.6, 1.45 * len(cases) + 0.5))
        for line, (bundle, arrays) in zip(grid, cases.items(), strict=True):
            for axes, image, heat, true in zip(line, *arrays, strict=False):
                axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.imshow(heat.astype(np.float32), cmap="inferno", vmin=0, vmax=1, alpha=0.45)
                _outline(axes, true, PALETTE[6])
                _frame(axes)
            line[0].set_ylabel(bundle, fontsize=7)
        heading(figure, "Grounding: heat map of the finding's phrases, true outline blue", simulated)
        save(figure, out)


def _read_cases(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        images, truth, predicted = (archive[key][:MAX_CASES] for key in ("images", "truth", "predicted"))
    return images, truth, predicted


def _frame(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def finding_text(labels: Mapping[str, float]) -> str:
    """Present findings of a study in words, at most three; never report text."""
    present = [name.replace("_", " ") for name, value in labels.items() if value == 1]
    shown = present[:MAX_FINDINGS] + (
        [f"+{len(present) - MAX_FINDINGS}"] if len(present) > MAX_FINDINGS else []
    )
    return "\n".join(shown) or "none"


def _study_findings(prepared: Path) -> dict[str, str]:
    labels = pd.read_parquet(prepared / "labels.parquet").set_index("image_id")
    studies = pd.read_parquet(prepared / "images.parquet").set_index("image_id")["study_id"].astype(str)
    grouped = labels.groupby(studies.reindex(labels.index)).max()
    return {
        str(study): finding_text({str(k): v for k, v in row.items()}) for study, row in grouped.iterrows()
    }


def retrieval_examples(file: Path, prepared: Path, simulated: bool, out: Path) -> None:
    """Draw query images and the findings of the five reports that rank first; correct ones are marked.

    Args:
        file: `.npz` with `images` uint8 [n, H, W], `study_id` [n] and `top` [n, 5], study ids by rank.
        prepared: folder of the prepared data set (`images.parquet`, `labels.parquet`).
        simulated: puts the warning into the title.
        out: path without suffix.
    """
    with np.load(file, allow_pickle=False) as archive:
        images, studies, top = (archive[key][:MAX_CASES] for key in ("images", "study_id", "top"))
    findings = _study_findings(prepared)
    with figure_style():
        figure, grid = subplots(len(images), 6, (8.2, 1.3 * len(images) + 0.6))
        for cells, image, own, ranked in zip(grid, images, map(str, studies), top, strict=True):
            cells[0].imshow(image, cmap="gray", vmin=0, vmax=255)
            cells[0].set_ylabel(findings.get(own, ""), fontsize=6.5, rotation=0, ha="right", va="center")
            for rank, (axes, study) in enumerate(zip(cells[1:], map(str, ranked), strict=False), start=1):
                same = findings.get(study, "") == findings.get(own, "")
                mark = "exact pair" if study == own else "same findings" if same else ""
                colour = PALETTE[2] if mark else INK
                axes.text(
                    0.5, 0.5, findings.get(study, ""), ha="center", va="center", fontsize=7, color=colour
                )
                axes.set_title(f"{rank}. {mark}", fontsize=7, color=colour if mark else NEUTRAL)
            for axes in cells:
                _frame(axes)
        heading(figure, "Retrieval: query image, and findings of its five first reports", simulated)
        save(figure, out)


def examples(stems: Sequence[Path], prepared_root: Path, simulated: bool, out: Path) -> None:
    """Draw what the tasks left as examples.

    `examples_segmentation_<dataset>_<setting>` and `examples_grounding_<dataset>_<setting>` show all bundles,
    `examples_retrieval_<bundle>` and `examples_prototypes_<bundle>` one.

    Args:
        stems: prediction files without suffix; `<stem>.examples.npz` may lie beside them.
        prepared_root: `data/prepared`.
        simulated: puts the warning into titles.
        out: folder.
    """
    masks: dict[str, dict[str, Path]] = {}
    maps: dict[str, dict[str, Path]] = {}
    for stem in sorted(stems):
        dataset, setting, bundle = stem.parts[-3:]
        archive = Path(f"{stem}.examples.npz")
        if not archive.exists():
            continue
        if stem.parts[-4] == "segmentation":
            masks.setdefault(f"{dataset}_{setting}", {})[bundle.split("-")[0]] = archive
        elif stem.parts[-4] == "grounding":
            maps.setdefault(f"{dataset}_{setting}", {})[bundle] = archive
        elif stem.parts[-4] == "prototypes":
            prototype_atlas(archive, prepared_root / dataset, out / f"examples_prototypes_{bundle}")
        else:
            target = out / f"examples_retrieval_{bundle}"
            retrieval_examples(archive, prepared_root / dataset, simulated, target)
    for name, files in masks.items():
        segmentation_examples(files, simulated, out / f"examples_segmentation_{name}")
    for name, files in maps.items():
        grounding_examples(files, simulated, out / f"examples_grounding_{name}")
