"""Report generation: a transformer decoder on the encoder's last map, or the report of the nearest image."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.protocols import Protocol
from prior.reports.plain import plain_reports
from prior.tasks import base, dense
from prior.tasks.base import (
    Cell,
    CellResult,
    omitted,
    refusal,
    split_preset,
    test_images,
    training_images,
    unlabelled_training_images,
    validation_images,
)
from prior.tasks.dense import DenseSource, dense_source, in_batches
from prior.tasks.features import Features
from prior.tasks.finetune import Job, search
from prior.tasks.maps import Rows, tune_layout
from prior.tasks.report_decoder import PAD, ReportDecoder, Vocabulary
from prior.training.precision import autocast

NEAREST, DECODER = "nearest_report", "transformer"
SHARED: dict[str, Collection[Any]] = {
    **base.CHOICES,
    "uses_labels": [True],
    "images": ["all"],
    "head_name": [DECODER, NEAREST],
    "sections": ["findings", "impression"],
    "text": ["lower case, no punctuation, a full stop after each sentence"],
    "studies": ["one frontal image a study"],
    "metrics": [
        *("clinical_f1_micro", "clinical_f1_macro", "clinical_f1_example"),
        *("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor_exact_stem", "cider"),
    ],
}
# By head: what a knob may say, and the knobs that are read as they are.
CHOICES: dict[str, dict[str, Collection[Any]]] = {
    DECODER: {
        **dense.CHOICES,
        **SHARED,
        "loss": ["cross-entropy a token"],
        "selection": ["validation log-likelihood a token"],
        "augmentation": [{}],
    },
    NEAREST: {
        **SHARED,
        "frozen": [True],
        "similarity": [
            "cosine of the mean of the last map, z-scored over all training images without reports"
        ],
    },
}
READ = {
    DECODER: dense.READ | {"decoder", "min_count", "max_length", "beams", "length_penalty"},
    NEAREST: base.READ | base.LABELLED,
}


def check(protocol: Protocol) -> None:
    """Stop unless the task does all that `protocol` states.

    Raises:
        InputError: a knob that the task does not read with this head, or a value that it does not implement.
    """
    head = protocol["head_name"] if protocol["head_name"] in CHOICES else DECODER
    protocol.require(CHOICES[head], READ[head])


class ReportJob(Job):
    """A report decoder on frozen or trainable maps, trained with the true words before each word.

    Args:
        source: last map of every image.
        train: training studies with `row` and `text`; the vocabulary is theirs alone.
        held_out: validation studies.
        rate: searched learning rate.
        protocol: knobs.
    """

    def __init__(
        self,
        source: DenseSource,
        train: pd.DataFrame,
        held_out: pd.DataFrame,
        rate: float,
        protocol: Protocol,
    ) -> None:
        length = int(protocol["max_length"])
        self.vocabulary = Vocabulary(train["text"], protocol["min_count"])
        self.rows, self.tokens = _rows(train), self.vocabulary.encode(list(train["text"]), length)
        self.held_out, self.check = _rows(held_out), self.vocabulary.encode(list(held_out["text"]), length)
        self.device, self.precision = source.device, source.precision
        self.positive = np.ones(len(train), dtype=bool)
        regions = (source.size // source.maps.strides[-1] + 1) ** 2
        decoder = ReportDecoder(
            source.maps.channels[-1],
            self.vocabulary.shares(self.tokens),
            length,
            regions,
            protocol["decoder"],
        )
        self.maps, self.decoder = source.maps, tune_layout(decoder, self.device)
        self.model = nn.ModuleList([self.maps, self.decoder])
        self.groups = source.groups(decoder, rate, protocol)
        self.batch = int(protocol["evaluation_batch"])
        self.beams, self.length_penalty = int(protocol["beams"]), float(protocol["length_penalty"])

    def total(self, rows: Rows, tokens: Tensor) -> Tensor:
        """Return the summed negative log-likelihood of `tokens` [B, L] given store rows [B]."""
        tokens = tokens[:, : int((tokens != PAD).sum(dim=1).max())].to(self.device)
        logits = self.decoder(self.maps(rows)[-1], tokens).float()
        return F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=PAD, reduction="sum")

    def loss(self, chosen: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """Return the mean negative log-likelihood per token of training studies `chosen`."""
        tokens = self.tokens[torch.from_numpy(chosen)]
        return self.total(self.rows[chosen], tokens) / (tokens != PAD).sum()

    def validate(self) -> float:
        """Return the mean log-likelihood per validation token; beam search would cost more than training."""
        total = 0.0
        for start in range(0, len(self.held_out), self.batch):
            part = slice(start, start + self.batch)
            with autocast(self.precision, self.device):
                total += float(self.total(self.held_out[part], self.check[part]))
        return -total / int((self.check != PAD).sum()) if len(self.held_out) else float("nan")

    def write(self, rows: Rows) -> list[str]:
        """Return the reports of store rows [n] as plain words."""

        def ids(part: Rows) -> Tensor:
            return self.decoder.write(self.maps(part)[-1], self.beams, self.length_penalty)

        parts = in_batches(rows, self.batch, self.precision, self.device, ids)
        return [text for part in parts for text in self.vocabulary.decode(part)]


def _rows(images: pd.DataFrame) -> Rows:
    return images["row"].to_numpy(np.int64)


def evaluate(
    bundle: Bundle,
    data: PreparedDataset,
    protocol: Protocol,
    cells: Sequence[Cell],
    work: Path,
    features: Features | None = None,
) -> Iterator[tuple[Cell, CellResult]]:
    """Yield per cell the generated report of every test study, beside its own and the most frequent one.

    Args:
        bundle: encoder.
        data: dataset with reports.
        protocol: knobs; `head_name` tells the decoder from the nearest report.
        cells: cells to compute.
        work: folder for what survives an interruption.
        features: cached features, for frozen protocols.

    Raises:
        InputError: the dataset has no reports, or a frozen protocol comes without cached features.
    """
    texts = plain_reports(data.reports, protocol["sections"])
    if not texts:
        raise InputError(
            f"{data.root}/reports.parquet is missing or empty; generation needs reports: choose mimic_cxr"
        )

    def build(of: Cell, rate: float) -> ReportJob:
        train, held_out = training_images(data, protocol, of), validation_images(data, protocol, of)
        source = dense_source(bundle, data, protocol, features, finest=bundle.info.image.input_size)
        return ReportJob(source, _studies(train, texts), _studies(held_out, texts), rate, protocol)

    for cell in cells:
        train = _studies(training_images(data, protocol, cell), texts)
        every = unlabelled_training_images(data, protocol, cell)
        info = {
            "split": split_preset(data, protocol, cell),
            "n_train": len(train),
            "n_validation": len(_studies(validation_images(data, protocol, cell), texts)),
        }
        reason = refusal(protocol, len(train))
        if reason:
            yield cell, omitted(reason, **info)
            continue
        job: ReportJob | None = None
        selected: dict[str, Any] = {}
        if protocol["head_name"] == DECODER:
            job, selected = search(build, data, protocol, cell, work)
            selected["vocabulary"] = len(job.vocabulary)
        test = _studies(test_images(data, protocol, cell), texts)
        frame = test[["image_id", "patient_id", "study_id"]].assign(
            generated=job.write(_rows(test)) if job else nearest_reports(features, every, train, test),
            reference=test["text"],
            frequent=most_frequent(_studies(every, texts)["text"]),
        )
        yield cell, CellResult(frame, {**info, "n_test": len(test), "selected": selected})


def _studies(images: pd.DataFrame, texts: Mapping[str, str]) -> pd.DataFrame:
    """Keep one image of every study with a report, the first by name, in the order of `images`."""
    kept = images[images["study_id"].isin(list(texts))]
    first = kept.sort_values("image_id").drop_duplicates("study_id").index
    chosen = kept[kept.index.isin(first)]
    return chosen.assign(text=chosen["study_id"].map(texts)).reset_index(drop=True)


def most_frequent(texts: pd.Series) -> str:
    """Return the text that occurs most often, of equally frequent ones the first in the alphabet."""
    counts = Counter(texts)
    return min(counts, key=lambda text: (-counts[text], text))


def nearest_reports(
    features: Features | None, every: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame
) -> list[str]:
    """Return the report of the training image most similar to each test image.

    Similarity is the cosine of pooled features, z-scored over all training images without their reports.

    Args:
        features: cached features of the frozen encoder.
        every: all training images with `row`.
        train: training studies with `row` and `text`; of equally similar ones the first counts.
        test: test studies with `row`.

    Raises:
        InputError: there are no cached features.
    """
    if features is None:
        raise InputError("the nearest report needs the cached features of a frozen protocol")
    reference = np.asarray(features.pooled[_rows(every)], dtype=np.float64)
    mean, std = reference.mean(axis=0), reference.std(axis=0)

    def unit(images: pd.DataFrame) -> NDArray[np.float64]:
        z: Any = (features.pooled[_rows(images)] - mean) / np.where(std > 0, std, 1.0)
        return np.asarray(z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12))

    nearest = (unit(test) @ unit(train).T).argmax(axis=1)
    return train["text"].to_numpy(dtype=object)[nearest].tolist()
