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
from prior.results.cases import bare, draw_cases, draw_nothing, load_cases
from prior.results.panels import heading, subplots
from prior.results.style import INK, NEUTRAL, PALETTE, figure_style, save

MAX_QUERIES = 3
MAX_FINDINGS = 3


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


def retrieval_examples(files: Mapping[str, Path], prepared: Path, simulated: bool, out: Path) -> None:
    """Draw query images and, for every method, the findings of the five reports that it ranks first.

    Args:
        files: method → `.npz` with `images` uint8 [n, H, W], `study_id` [n] and `top` [n, 5], study ids by
            rank; queries are the same for all methods.
        prepared: folder of the prepared data set (`images.parquet`, `labels.parquet`).
        simulated: puts the warning into the title.
        out: path without suffix.
    """
    text = "Retrieval: query image, and findings of the five reports ranked first"
    if not files:
        draw_nothing(text, simulated, out)
        return
    found = {method: np.load(path, allow_pickle=False) for method, path in files.items()}
    first = next(iter(found.values()))
    images, studies = first["images"][:MAX_QUERIES], first["study_id"][:MAX_QUERIES].astype(str)
    findings = _study_findings(prepared)
    height = max(0.3 * len(files) + 0.35, 1.5)
    with figure_style():
        ratios = {"width_ratios": [1.5, 8]}
        figure, grid = subplots(len(images), 2, (9.5, height * len(images) + 0.6), gridspec_kw=ratios)
        for number, ((picture, cells), image, own) in enumerate(zip(grid, images, studies, strict=True)):
            picture.imshow(image, cmap="gray", vmin=0, vmax=255)
            picture.set_title(findings.get(own, "").replace("\n", ", "), fontsize=6.5)
            bare(picture)
            ranked = {method: archive["top"][number].astype(str) for method, archive in found.items()}
            _ranked_findings(cells, ranked, own, findings)
        heading(figure, text, simulated, "Green: same findings as the query; bold: its own report.")
        save(figure, out)


def _two_lines(text: str) -> str:
    """Findings, one a line, set in at most two lines."""
    names = text.split("\n")
    half = -(-len(names) // 2)
    return "\n".join(filter(None, [", ".join(names[:half]), ", ".join(names[half:])]))


def _ranked_findings(
    axes: Any, ranked: Mapping[str, np.ndarray], own: str, findings: Mapping[str, str]
) -> None:
    """Methods as rows, ranks as columns, the findings of the study at each rank as text."""
    for line, studies in enumerate(ranked.values()):
        for column, study in enumerate(studies):
            same = findings.get(study, "") == findings.get(own, "")
            axes.text(
                column, line, _two_lines(findings.get(study, "")),
                ha="center", va="center", fontsize=5.5, color=PALETTE[2] if same or study == own else INK,
                weight="bold" if study == own else "normal",
            )  # fmt: skip
    bare(axes)
    columns = max((len(studies) for studies in ranked.values()), default=0)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(len(ranked) - 0.5, -0.5)
    axes.set_xticks(range(columns), [f"{rank}." for rank in range(1, columns + 1)], color=NEUTRAL)
    axes.set_yticks(range(len(ranked)), list(ranked))
    axes.tick_params(length=0, labelsize=7, labeltop=True, labelbottom=False)


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
