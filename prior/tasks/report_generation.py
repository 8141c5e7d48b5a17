"""Report generation: a transformer decoder on the encoder's last map, or the report of the nearest image."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from prior.data.augment import augment
from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle
from prior.errors import InputError
from prior.metrics.text_overlap import bleu, bleu_counts
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
from prior.tasks.dense import DenseSource, augmentation, dense_source, in_batches
from prior.tasks.features import Features
from prior.tasks.finetune import Job, search
from prior.tasks.maps import Rows, tune_layout
from prior.tasks.report_baselines import most_frequent, nearest_reports
from prior.tasks.report_decoder import PAD, ReportDecoder, Vocabulary
from prior.training.precision import autocast

NEAREST, DECODER = "nearest_report", "transformer"
SIMILARITY = "cosine of the mean of the last map, z-scored over all training images without reports"
VIEWS = {"one frontal image a study": 1, "two images a study, regions side by side": 2}


class ReportJob(Job):
    """A report decoder on frozen or trainable maps, trained with the true words before each word.

    Args:
        source: last map of every image.
        train: training studies with `row` (or `row` and `second`) and `text`; the vocabulary is theirs alone.
        held_out: validation studies.
        rate: searched learning rate.
        protocol: knobs.
    """

    head: ReportDecoder

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
        self.rows, self.tokens = _views(train), self.vocabulary.encode(list(train["text"]), length)
        self.held_out, self.check = _views(held_out), self.vocabulary.encode(list(held_out["text"]), length)
        self.references = list(held_out["text"])
        self.device, self.precision = source.device, source.precision
        self.positive = np.ones(len(train), dtype=bool)
        regions = VIEWS[protocol["studies"]] * (source.size // source.maps.strides[-1] + 1) ** 2
        decoder = ReportDecoder(
            source.maps.channels[-1],
            self.vocabulary.shares(self.tokens),
            length,
            regions,
            protocol["decoder"],
        )
        self.maps, self.head = source.maps, tune_layout(decoder, self.device)
        self.model = nn.ModuleList([self.maps, self.head])
        self.groups = source.groups(decoder, rate, protocol)
        self.batch = int(protocol["evaluation_batch"])
        self.beams, self.length_penalty = int(protocol["beams"]), float(protocol["length_penalty"])
        self.augmentation, self.select = augmentation(protocol), SELECTION[protocol["selection"]]

    def last_maps(self, rows: Rows, change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the last maps [B, C, V·h, w] of store rows [B, V], one view below the other."""
        last = self.maps(rows.reshape(-1), change)[-1]
        return last.unflatten(0, rows.shape).transpose(1, 2).flatten(2, 3)

    def total(self, last: Tensor, tokens: Tensor) -> Tensor:
        """Return the summed negative log-likelihood of `tokens` [B, L] given maps [B, C, V·h, w]."""
        tokens = tokens[:, : int((tokens != PAD).sum(dim=1).max())].to(self.device)
        logits = self.head(last, tokens).float()
        return F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=PAD, reduction="sum")

    def loss(self, chosen: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """Return the mean negative log-likelihood per token of training studies `chosen`."""
        tokens, rows, settings = self.tokens[torch.from_numpy(chosen)], self.rows[chosen], self.augmentation
        if settings is None:
            last = self.last_maps(rows)
        else:
            last = self.last_maps(rows, lambda images: augment(images, generator, settings))
        return self.total(last, tokens) / (tokens != PAD).sum()

    def validate(self) -> float:
        """Return what the protocol selects by; NaN without validation studies."""
        return self.select(self) if len(self.held_out) else float("nan")

    def validation_likelihood(self) -> float:
        """Return the mean log-likelihood per validation token."""
        total = 0.0
        for start in range(0, len(self.held_out), self.batch):
            part = slice(start, start + self.batch)
            with autocast(self.precision, self.device):
                total += float(self.total(self.last_maps(self.held_out[part]), self.check[part]))
        return -total / int((self.check != PAD).sum())

    def validation_bleu(self) -> float:
        """Return BLEU-4 of the reports written for the validation studies."""
        counts = bleu_counts(self.write(self.held_out), self.references)
        return float(bleu(counts, np.ones((1, len(counts))), 4)[0])

    def write(self, rows: Rows) -> list[str]:
        """Return the reports of store rows [n, V] as plain words."""

        def ids(part: Rows) -> Tensor:
            return self.head.write(self.last_maps(part), self.beams, self.length_penalty)

        parts = in_batches(rows, self.batch, self.precision, self.device, ids)
        return [text for part in parts for text in self.vocabulary.decode(part)]


SELECTION: dict[str, Callable[[ReportJob], float]] = {
    "validation log-likelihood a token": ReportJob.validation_likelihood,
    "validation BLEU-4": ReportJob.validation_bleu,
}
SHARED: dict[str, Collection[Any]] = {
    **base.CHOICES,
    "uses_labels": [True],
    "images": ["all"],
    "head_name": [DECODER, NEAREST],
    "sections": ["findings", "impression"],
    "text": ["lower case, no punctuation, a full stop after each sentence"],
    "studies": VIEWS,
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
        "selection": SELECTION,
    },
    NEAREST: {
        **SHARED,
        "frozen": [True],
        "similarity": [SIMILARITY],
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


def _rows(images: pd.DataFrame) -> Rows:
    return images["row"].to_numpy(np.int64)


def _views(studies: pd.DataFrame) -> Rows:
    """Return the store rows of each study's images [n, V]."""
    return studies[[name for name in ("row", "second") if name in studies]].to_numpy(np.int64)


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

    def shown(images: pd.DataFrame) -> pd.DataFrame:
        studies = _studies(images, texts)
        return studies if VIEWS[protocol["studies"]] == 1 else with_second(studies, data.images)

    def build(of: Cell, rate: float) -> ReportJob:
        train, held_out = training_images(data, protocol, of), validation_images(data, protocol, of)
        source = dense_source(bundle, data, protocol, features, finest=bundle.info.image.input_size)
        return ReportJob(source, shown(train), shown(held_out), rate, protocol)

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
        test = shown(test_images(data, protocol, cell))
        frame = test[["image_id", "patient_id", "study_id"]].assign(
            generated=job.write(_views(test)) if job else nearest_reports(features, every, train, test),
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


def with_second(studies: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Add `second`: the store row of the study's next image by name, whatever its view.

    A study with one image shows it twice.

    Args:
        studies: one image per study, with `image_id`, `study_id` and `row`.
        images: every image of the dataset.
    """
    others = images[~images["image_id"].isin(studies["image_id"])].sort_values("image_id")
    rows = others.drop_duplicates("study_id").set_index("study_id")["row"]
    return studies.assign(second=studies["study_id"].map(rows).fillna(studies["row"]).astype(np.int64))
