"""Zero-shot classification: images against frozen positive and negative prompts.

Score of a finding: cos(v, t+) − cos(v, t−), each t the normalised mean of the unit embeddings of its
phrasings. On CheXpert 5x200 the class with the highest cos(v, t+) is the prediction.
"""

from collections.abc import Iterator, Sequence
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
from prior.protocols import Protocol
from prior.tasks.base import Cell, CellResult, omitted, test_images
from prior.tasks.embeddings import Embedder
from prior.tasks.labels import finding_names, label_matrix, long_predictions
from prior.tasks.prompts import Prompts, load_prompts

SUBSET = "5x200"


def evaluate(
    bundle: Bundle, data: PreparedDataset, protocol: Protocol, cells: Sequence[Cell], work: Path
) -> Iterator[tuple[Cell, CellResult]]:
    """Score the test images, and the 5x200 subset where the dataset has one, in every cell.

    Raises:
        InputError: The prompt file has none of the dataset's findings or lacks a class of 5x200.
    """
    if not bundle.has_text:
        yield from ((cell, omitted("the encoder was trained without text")) for cell in cells)
        return
    prompts, sha256 = load_prompts(protocol["prompts"])
    embedder = Embedder(bundle)
    pixels = data.pixels(bundle.info.image.input_size, protocol["fit"])
    subset = _subset_predictions(embedder, data, pixels, prompts)
    for cell in cells:
        predictions, info = _test_predictions(embedder, data, pixels, protocol, cell, prompts)
        info |= {"n_train": 0, "prompts": protocol["prompts"], "prompts_sha256": sha256}
        yield cell, CellResult(pd.concat([predictions, *subset], ignore_index=True), info)


def prompt_embeddings(embedder: Embedder, prompts: Prompts, findings: Sequence[str], side: str) -> Tensor:
    """Return one unit embedding per finding [F, D]: the normalised mean over its phrasings on `side`."""
    phrasings = [(row, text) for row, finding in enumerate(findings) for text in prompts[finding][side]]
    embedded = embedder.texts([[text] for _, text in phrasings])
    owner = np.array([row for row, _ in phrasings])
    means = torch.stack([embedded[owner == row].mean(dim=0) for row in range(len(findings))])
    return functional.normalize(means, dim=-1)


def _test_predictions(
    embedder: Embedder,
    data: PreparedDataset,
    pixels: NDArray[np.uint8],
    protocol: Protocol,
    cell: Cell,
    prompts: Prompts,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    names = finding_names(data, protocol)
    findings = [name for name in names if name in prompts]
    if not findings:
        raise InputError(
            f"prompts `{protocol['prompts']}` has no phrasing for any finding of {data.name} "
            f"({', '.join(names)}); add a prompt file that has"
        )
    images = test_images(data, protocol, cell)
    embedded = embedder.images(pixels, images["row"].to_numpy())
    positive, negative = (prompt_embeddings(embedder, prompts, findings, s) for s in ("positive", "negative"))
    scores = (embedded @ (positive - negative).T).numpy()
    labels = label_matrix(data, images["image_id"], findings, protocol)
    info = {
        "n_test": len(images),
        "n_pos": int((labels == 1).sum()),
        "without_prompts": [name for name in names if name not in prompts],
    }
    return long_predictions(images, findings, scores, labels), info


def _subset_predictions(
    embedder: Embedder,
    data: PreparedDataset,
    pixels: NDArray[np.uint8],
    prompts: Prompts,
) -> list[pd.DataFrame]:
    path = data.root / "subsets" / f"{SUBSET}.parquet"
    if not path.is_file():
        return []
    columns = ["image_id", "patient_id", "row"]
    chosen = pd.read_parquet(path).merge(data.images[columns], on="image_id", validate="one_to_one")
    classes = sorted(chosen["class"].unique())
    findings = [str(name).replace(" ", "_") for name in classes]
    missing = [finding for finding in findings if finding not in prompts]
    if missing:
        raise InputError(f"{path}: no prompt for class {missing[0]}; correct the class or add prompts")
    embedded = embedder.images(pixels, chosen["row"].to_numpy())
    scores = (embedded @ prompt_embeddings(embedder, prompts, findings, "positive").T).numpy()
    labels = (chosen["class"].to_numpy()[:, None] == np.array(classes)).astype(np.float64)
    return [long_predictions(chosen, [f"{SUBSET}:{name}" for name in findings], scores, labels)]
