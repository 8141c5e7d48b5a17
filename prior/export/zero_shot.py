"""`prior zero-shot`: scores of findings on one image, and where the method looks for them."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prior.data.files import atomic_path
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.export.inputs import load_squares, open_bundle, require_absent
from prior.export.prompts import read_prompts
from prior.tasks.embeddings import Embedder
from prior.tasks.grounding import phrase_maps
from prior.tasks.prompt_scores import mean_embeddings
from prior.tasks.prompts import Prompts

COLUMNS = 4
PICTURES = (".png", ".svg")

logger = logging.getLogger(__name__)


def zero_shot(image: Path, bundle_path: Path, given: str, picture: Path | None) -> dict[str, Any]:
    """Score one image by the rule of the task `zero_shot`: cos(v, t+) − cos(v, t−), in [−2, 2].

    Args:
        image: PNG, JPEG or DICOM.
        bundle_path: folder of a bundle with text.
        given: prompts, as `read_prompts` takes them.
        picture: draw the image and the heat map of every finding to this file; None draws nothing.

    Returns:
        `image`, `bundle`, `simulated` (what the bundle was trained on) and `scores` by finding.

    Raises:
        InputError: the image is missing or cannot be decoded, the bundle is missing or without text, the
            prompts cannot be read, or the picture exists, has another suffix, or is of a method without maps.
    """
    if not image.is_file():
        raise InputError(f"{image} is no file; give one image")
    bundle = open_bundle(bundle_path)
    if not bundle.has_text:
        raise InputError(
            f"{bundle_path}: method {bundle.info.method} has no text encoder and cannot be prompted; give a "
            "bundle that was trained on reports"
        )
    if picture is not None:
        require_absent(picture)
        if picture.suffix not in PICTURES:
            raise InputError(f"{picture}: the suffix must be {' or '.join(PICTURES)}")
    prompts = read_prompts(given)
    squares = load_squares([image], bundle.info)
    embedder = Embedder(bundle)
    scores = finding_scores(embedder, squares, prompts)[0]
    if bundle.info.simulated:
        logger.warning("%s was trained on simulated data: its scores say nothing about patients", bundle.name)
    found = {name: round(float(score), 6) for name, score in zip(prompts, scores, strict=True)}
    if picture is not None:
        _draw(picture, squares[0], _maps(embedder, squares, prompts, bundle), found, bundle)
    return {"image": str(image), "bundle": bundle.name, "simulated": bundle.info.simulated, "scores": found}


def finding_scores(embedder: Embedder, squares: NDArray[np.uint8], prompts: Prompts) -> NDArray[np.float32]:
    """Score images [n, H, W] against prompts of F findings; returns [n, F]."""
    names = list(prompts)
    images = embedder.images(squares, np.arange(len(squares)))
    positive, negative = (
        mean_embeddings(embedder, [prompts[name][s] for name in names]) for s in ("positive", "negative")
    )
    scores: NDArray[np.float32] = (images @ (positive - negative).T).numpy()
    return scores


def _maps(
    embedder: Embedder, squares: NDArray[np.uint8], prompts: Prompts, bundle: Bundle
) -> list[NDArray[np.float64]]:
    """Return the map [H, W] in [0, 1] of every finding on the first image, as the task `grounding` has it."""
    maps = []
    for sides in prompts.values():
        phrases = embedder.report_features([[text] for text in sides["positive"]])
        found = phrase_maps(embedder, squares, np.array([0]), phrases)
        if found is None:
            raise InputError(
                f"{bundle.path}: this {bundle.info.method} relates no regions to phrases and has no map; "
                "leave --picture out"
            )
        maps.append(found[0])
    return maps


def _draw(
    path: Path,
    square: NDArray[np.uint8],
    maps: list[NDArray[np.float64]],
    scores: dict[str, float],
    bundle: Bundle,
) -> None:
    """Draw the image alone, and once more under every map, with the score as title."""
    from matplotlib import pyplot

    from prior.results.panels import heading, subplots
    from prior.results.style import figure_style

    titles = ["image", *(f"{name.replace('_', ' ')}\n{score:+.3f}" for name, score in scores.items())]
    columns = min(COLUMNS, len(titles))
    rows = -(-len(titles) // columns)
    with figure_style():
        figure, grid = subplots(rows, columns, (max(1.9 * columns, 4.5), 2.3 * rows + 0.5))
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, text, heat in zip(grid.flat, titles, [None, *maps], strict=False):
            axes.imshow(square, cmap="gray", vmin=0, vmax=255)
            if heat is not None:
                axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.45)
            axes.set_title(text)
        heading(figure, f"{bundle.name}: heat maps, each scaled by itself", bundle.info.simulated)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, facecolor="white", dpi=160)
        pyplot.close(figure)
