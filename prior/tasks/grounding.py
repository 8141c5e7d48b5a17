"""Phrase grounding: the heat map of a finding's phrases on a radiograph, against the finding's true region.

Every test image in which a finding is marked and every such finding give one row. The map is the mean of the
method's maps (`Method.heat_maps`) of the finding's positive phrasings, brought bilinearly to the size of the
image store. Padding counts as outside of the mask.

Where the boxes themselves belong to phrases (MS-CXR, Boecking et al., ECCV 2022), every image and phrase give
one row; the phrase itself is in none, only the finding that it speaks of.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.methods.base import ReportFeatures
from prior.protocols import Protocol
from prior.reports.labeller import ABSENT, label_report
from prior.tasks import base
from prior.tasks.base import Cell, CellResult, omitted, split_preset, test_images
from prior.tasks.embeddings import Embedder
from prior.tasks.map_agreement import contrast_to_noise, mean_iou, pointing_hits, scaled
from prior.tasks.prompts import load_prompts
from prior.tasks.regions import finding_masks, marked_findings

EXAMPLES = 6
OWN_PHRASES = "labels of the boxes"
_BATCH = 64
CHOICES: dict[str, Collection[Any]] = {
    **base.UNTRAINED,
    "images": ["positives"],
    "pooling": ["mean of the maps of all phrasings", "one map a sentence"],
    "target": [
        "union of a finding's masks, or else of its filled boxes",
        "union of the boxes of a sentence, filled",
    ],
    "upsampling": ["bilinear"],
    "scale": ["least and largest value of each map"],
    "ties": ["expected hit"],
    "metrics": ["pointing_game", "cnr", "cnr_signed", "miou"],
}
READ = base.READ | {"prompts", "thresholds"}


def check(protocol: Protocol) -> None:
    """Stop unless the task does all that `protocol` states.

    Raises:
        InputError: a knob that the task does not read, or a value that it does not implement.
    """
    protocol.require(CHOICES, READ)


def evaluate(
    bundle: Bundle, data: PreparedDataset, protocol: Protocol, cells: Sequence[Cell], work: Path
) -> Iterator[tuple[Cell, CellResult]]:
    """Compare the maps of all positive test images with their masks or filled boxes.

    Raises:
        InputError: the dataset marks no finding that the prompt file has phrasings for, or nothing at all.
    """
    if not bundle.has_text:
        yield from ((cell, omitted("the encoder was trained without text")) for cell in cells)
        return
    phrasings, facts = _phrasings(data, protocol["prompts"])
    embedder = Embedder(bundle)
    pixels = data.pixels(bundle.info.image.input_size, protocol["fit"])
    for cell in cells:
        result = _ground(embedder, data, pixels, protocol, cell, phrasings)
        result.info.update(facts)
        yield cell, result


def _phrasings(data: PreparedDataset, prompts: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the phrasings of every label of masks and boxes that has some, and what to record of them."""
    marked = marked_findings(data)
    if prompts == OWN_PHRASES:
        if not marked:
            raise InputError(f"{data.root}: no box has a phrase; choose a dataset with phrases, as ms_cxr")
        return {label: [label] for label in marked}, {"prompts": prompts}
    known, sha256 = load_prompts(prompts)
    phrasings = {finding: known[finding]["positive"] for finding in marked if finding in known}
    if not phrasings:
        # The labels themselves may be phrases of reports, which no log may hold.
        raise InputError(
            f"{data.root}: prompts `{prompts}` has no phrasing for a finding with masks or boxes "
            f"(labels of its boxes and masks: {len(marked)}); choose another dataset or add a prompt file"
        )
    return phrasings, {"prompts": prompts, "prompts_sha256": sha256}


def spoken_findings(labels: pd.DataFrame, phrase: str, image_ids: Sequence[str]) -> list[str]:
    """Return the finding that a phrase speaks of on each image.

    The records say which findings the phrases of an image speak of, and not which phrase of which: of those
    findings the first by name that the rule labeller reads in the phrase, else the first by name.

    Args:
        labels: table of image labels with `image_id`.
        phrase: label of boxes.
        image_ids: images with such boxes.

    Raises:
        InputError: no finding is present on one of the images.
    """
    read = {finding for finding, value in label_report(phrase).items() if value != ABSENT}
    present = labels.set_index("image_id").eq(1)
    found = []
    for image, row in zip(image_ids, present.loc[list(image_ids)].to_numpy(), strict=True):
        named = sorted(present.columns[row])
        if not named:
            raise InputError(f"image {image} has boxes and no present finding; correct its labels")
        found.append(next((finding for finding in named if finding in read), named[0]))
    return found


def _ground(
    embedder: Embedder,
    data: PreparedDataset,
    pixels: NDArray[np.uint8],
    protocol: Protocol,
    cell: Cell,
    phrasings: dict[str, list[str]],
) -> CellResult:
    test = test_images(data, protocol, cell)
    info = {"split": split_preset(data, protocol, cell), "n_train": 0, "n_test": len(test), "n_pos": 0}
    frames: list[pd.DataFrame] = []
    examples: list[tuple[NDArray[Any], ...]] = []
    for finding, texts in phrasings.items():
        masks = finding_masks(data, finding, test["image_id"], pixels.shape[1], protocol["fit"])
        positive = test[test["image_id"].isin(list(masks))]
        if positive.empty:
            continue
        phrases = embedder.report_features([[text] for text in texts])
        for start in range(0, len(positive), _BATCH):
            images = positive.iloc[start : start + _BATCH]
            rows = images["row"].to_numpy(np.int64)
            maps = phrase_maps(embedder, pixels, rows, phrases)
            if maps is None:
                return omitted("the method relates no regions to phrases", **info)
            truth = np.stack([masks[str(image)] for image in images["image_id"]])
            names: Sequence[str] = [finding] * len(images)
            if protocol["prompts"] == OWN_PHRASES:
                names = spoken_findings(data.labels, finding, images["image_id"].tolist())
            frames.append(_facts(images, names, maps, truth, protocol["thresholds"]))
            if start == 0 and len(examples) < EXAMPLES:
                shown = max(1, EXAMPLES // len(phrasings))
                examples.append((pixels[rows[:shown]], maps[:shown], truth[:shown]))
    if not frames:
        return omitted("no test image in which a finding is marked", **info)
    predictions = pd.concat(frames, ignore_index=True)
    info["n_pos"] = int(predictions["image_id"].nunique())
    return CellResult(predictions, info, _example_arrays(examples))


def phrase_maps(
    embedder: Embedder, pixels: NDArray[np.uint8], rows: NDArray[np.int64], phrases: ReportFeatures
) -> NDArray[np.float64] | None:
    """Average the maps of P phrases and bring them to the size of the image, scaled to [0, 1].

    Args:
        embedder: the method.
        pixels: image store [N, H, W].
        rows: store rows of B images.
        phrases: features of P phrases.

    Returns:
        [B, H, W], or None if the method has no maps.
    """
    with torch.inference_mode():
        images = embedder.image_features(pixels, rows)
        found = [
            embedder.method.heat_maps(images, _repeated(phrases, row, len(rows)))
            for row in range(len(phrases.global_))
        ]
        maps = [grid for grid in found if grid is not None]
        if not maps:
            return None
        mean = torch.stack(maps).mean(dim=0).cpu().double().view(len(rows), 1, *images.grid)
        size = (pixels.shape[1], pixels.shape[2])
        full = functional.interpolate(mean, size=size, mode="bilinear", align_corners=False)
        return scaled(full.squeeze(1).numpy())


def _repeated(phrases: ReportFeatures, row: int, count: int) -> ReportFeatures:
    """Return one phrase `count` times."""

    def repeat(tensor: Tensor) -> Tensor:
        return tensor[row : row + 1].expand(count, *tensor.shape[1:])

    return ReportFeatures(**{field.name: repeat(getattr(phrases, field.name)) for field in fields(phrases)})


def _facts(
    images: pd.DataFrame,
    findings: Sequence[str],
    maps: NDArray[np.float64],
    truth: NDArray[np.bool_],
    thresholds: Sequence[float],
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": images["image_id"].to_numpy(),
            "patient_id": images["patient_id"].to_numpy(),
            "finding": findings,
            "hit": pointing_hits(maps, truth),
            "cnr": contrast_to_noise(maps, truth),
            "miou": mean_iou(maps, truth, thresholds),
            "area": truth.mean(axis=(1, 2)),
        }
    )


def _example_arrays(parts: list[tuple[NDArray[Any], ...]]) -> dict[str, NDArray[Any]]:
    images, maps, truth = (np.concatenate(arrays)[:EXAMPLES] for arrays in zip(*parts, strict=True))
    return {"images": images, "heat": maps.astype(np.float16), "truth": truth}
