"""Zero-shot classification: images against frozen prompts of every finding.

The protocol says which prompts, how several of one finding are pooled, whether the negative side counts,
which of the method's similarities, and what is normalised (docs/protocols.md). On a dataset with a 5x200
selection the class of the largest positive score is the prediction.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.metrics.exclusive import SUBSET_METRICS
from prior.protocols import Protocol
from prior.tasks import base
from prior.tasks.base import Cell, CellResult, omitted, split_preset, subset_images, test_images
from prior.tasks.embeddings import Embedder
from prior.tasks.labels import VALUE, finding_names, label_matrix, long_predictions
from prior.tasks.prompt_scores import (
    DIFFERENCE,
    GLOBAL_SCALE,
    NORMALISATION,
    POOLING,
    SCORE,
    SIMILARITY,
    PromptScorer,
)
from prior.tasks.prompts import Prompts, drawn_prompts, load_prompts

SUBSET = "5x200"
CHOICES: dict[str, Collection[Any]] = {
    **base.UNTRAINED,
    "images": ["all"],
    "missing": VALUE,
    "uncertain": VALUE,
    "pooling": POOLING,
    "score": SCORE,
    "score_5x200": ["cosine to the positive"],
    "similarity": SIMILARITY,
    "normalisation": NORMALISATION,
    "global_scale": GLOBAL_SCALE,
    "metrics": ["auroc", "auprc", *(f"{name}_5x200" for name in SUBSET_METRICS)],
}
READ = base.READ | {"findings", "prompts", "drawn"}


def check(protocol: Protocol) -> None:
    """Stop unless the task does all that `protocol` states.

    Raises:
        InputError: a knob that the task does not read, or a value that it does not implement.
    """
    protocol.require(CHOICES, READ)
    # Only global similarities have embeddings that a mean could be taken of.
    pooling = POOLING if set(SIMILARITY[protocol["similarity"]]) == {"global"} else [*POOLING][1:]
    protocol.require({**CHOICES, "pooling": pooling}, READ)


def evaluate(
    bundle: Bundle, data: PreparedDataset, protocol: Protocol, cells: Sequence[Cell], work: Path
) -> Iterator[tuple[Cell, CellResult]]:
    """Score the test images, and the 5x200 subset where the dataset has one, in every cell.

    Raises:
        InputError: The prompt file has none of the dataset's findings, lacks a class of 5x200, or lacks the
            negative side that the score needs.
    """
    if not bundle.has_text:
        yield from ((cell, omitted("the encoder was trained without text")) for cell in cells)
        return
    prompts, sha256 = load_prompts(protocol["prompts"])
    prompts = drawn_prompts(prompts, protocol["drawn"])
    scorer = PromptScorer(
        Embedder(bundle), data.pixels(bundle.info.image.input_size, protocol["fit"]), protocol
    )
    for cell in cells:
        findings = _findings(data, protocol, prompts)
        images = test_images(data, protocol, cell)
        scores = scorer.scores(images["row"].to_numpy(), prompts, findings)
        if scores is None:
            yield cell, omitted("the method has no local similarity")
            continue
        labels = label_matrix(data, images["image_id"], findings, protocol)
        parts = [long_predictions(images, findings, scores, labels), *_subset(scorer, data, prompts)]
        info = {
            "split": split_preset(data, protocol, cell),
            "n_train": 0,
            "n_test": len(images),
            "n_pos": int((labels == 1).sum()),
            "without_prompts": [name for name in finding_names(data, protocol) if name not in prompts],
            "prompts": protocol["prompts"],
            "prompts_sha256": sha256,
        }
        yield cell, CellResult(pd.concat(parts, ignore_index=True), info)


def _findings(data: PreparedDataset, protocol: Protocol, prompts: Prompts) -> list[str]:
    names = finding_names(data, protocol)
    findings = [name for name in names if name in prompts]
    if not findings:
        raise InputError(
            f"prompts `{protocol['prompts']}` has no phrasing for any finding of {data.name} "
            f"({', '.join(names)}); add a prompt file that has"
        )
    one_sided = [name for name in findings if not prompts[name]["negative"]]
    if protocol["score"] == DIFFERENCE and one_sided:
        raise InputError(
            f"prompts `{protocol['prompts']}` has no negative phrasing for {one_sided[0]}, which "
            f"`score: {DIFFERENCE}` needs; add some, or change the score"
        )
    return findings


def _subset(scorer: PromptScorer, data: PreparedDataset, prompts: Prompts) -> list[pd.DataFrame]:
    chosen = subset_images(data, SUBSET)
    if chosen is None:
        return []
    classes = sorted(chosen["class"].unique())
    findings = [str(name).replace(" ", "_") for name in classes]
    missing = [finding for finding in findings if finding not in prompts]
    if missing:
        raise InputError(
            f"{data.root}/subsets/{SUBSET}.parquet: no prompt for class {missing[0]}; correct the class or "
            "add prompts"
        )
    scores: NDArray[np.float64] | None = scorer.scores(
        chosen["row"].to_numpy(), prompts, findings, positive_only=True
    )
    if scores is None:
        return []
    labels = (chosen["class"].to_numpy()[:, None] == np.array(classes)).astype(np.float64)
    return [long_predictions(chosen, [f"{SUBSET}:{name}" for name in findings], scores, labels)]
