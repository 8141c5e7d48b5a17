"""Token ids of reports: ragged storage, padded batches, and the stage that writes them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tokenizers import Tokenizer

from prior.data.files import atomic_path, read_json, write_json
from prior.data.schemas import read_table
from prior.errors import InputError
from prior.reports.sections import FINDINGS, IMPRESSION
from prior.reports.wordpiece import (
    PAD,
    UNK,
    encode_reports,
    load_tokenizer,
    save_tokenizer,
    token_id,
    train_tokenizer,
)

__all__ = ["ReportTokens", "encode_texts", "load_tokenizer", "ordered_reports", "tokenize", "train_tokenizer"]

Arrays = dict[str, npt.NDArray[Any]]
_ARRAYS = ("ids", "sentence", "offsets", "study_id")
SECTION_ORDER = (IMPRESSION, FINDINGS)


def encode_texts(
    tokenizer: Tokenizer,
    reports: Sequence[Sequence[str]],
    max_sentences: int | None = None,
    max_tokens: int | None = None,
) -> Arrays:
    """Tokenise reports or prompts, each a list of sentences, into one padded batch.

    Returns:
        `ids` [B, L] int64, `mask` [B, L] bool, `sentence` [B, L] int64 (-1 for special tokens and padding)
        and `n_sentences` [B] int64.
    """
    rows = list(encode_reports(tokenizer, reports, max_sentences, max_tokens))
    store = ReportTokens.from_rows(rows, [str(row) for row in range(len(rows))], token_id(tokenizer, PAD))
    return store.batch(store.study_id)


@dataclass(frozen=True)
class ReportTokens:
    """Token ids of many reports without padding.

    Attributes:
        ids: int32 [T], all tokens, report after report.
        sentence: int32 [T], sentence index inside the report; -1 for special tokens.
        offsets: int64 [n + 1], report i is `ids[offsets[i]:offsets[i + 1]]`.
        study_id: str [n].
        pad_id: Token that fills short rows.
    """

    ids: npt.NDArray[np.int32]
    sentence: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    study_id: npt.NDArray[np.str_]
    pad_id: int

    @classmethod
    def from_rows(
        cls, rows: Sequence[tuple[list[int], list[int]]], study_ids: Sequence[str], pad_id: int
    ) -> "ReportTokens":
        """Build the store from per-report token ids and sentence indices."""
        lengths = [len(ids) for ids, _ in rows]
        return cls(
            ids=np.array([token for ids, _ in rows for token in ids], dtype=np.int32),
            sentence=np.array([index for _, indices in rows for index in indices], dtype=np.int32),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            study_id=np.array(study_ids, dtype=np.str_),
            pad_id=pad_id,
        )

    @classmethod
    def load(cls, path: Path) -> "ReportTokens":
        """Read `tokens.npz`.

        Raises:
            InputError: The file is missing or lacks an array.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**{name: arrays[name] for name in _ARRAYS}, pad_id=int(arrays["pad_id"]))
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} is no token file ({error}); write it with `prior tokenize`.") from None

    def save(self, path: Path) -> None:
        """Write `tokens.npz`; equal tokens give equal bytes."""
        with atomic_path(path) as temporary:
            arrays = {name: getattr(self, name) for name in _ARRAYS}
            np.savez(temporary, **arrays, pad_id=np.int64(self.pad_id))

    def __len__(self) -> int:
        return len(self.study_id)

    def __contains__(self, study_id: object) -> bool:
        return study_id in self._rows

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {str(study): row for row, study in enumerate(self.study_id)}

    def batch(self, study_ids: Iterable[str]) -> Arrays:
        """Pad the reports of `study_ids` to the longest among them.

        Returns:
            `ids` [B, L] int64, `mask` [B, L] bool, `sentence` [B, L] int64 and `n_sentences` [B] int64.

        Raises:
            InputError: A study has no report.
        """
        try:
            rows = np.array([self._rows[str(study)] for study in study_ids], dtype=np.int64)
        except KeyError as error:
            raise InputError(
                f"No tokens for study {error}; run `prior tokenize` on its dataset again."
            ) from None
        starts, lengths = self.offsets[rows], np.diff(self.offsets)[rows]
        columns = np.arange(lengths.max(initial=0))
        mask = columns < lengths[:, None]
        index = np.where(mask, starts[:, None] + columns, 0)
        sentence = np.where(mask, self.sentence[index], -1).astype(np.int64)
        return {
            "ids": np.where(mask, self.ids[index], self.pad_id).astype(np.int64),
            "mask": mask,
            "sentence": sentence,
            "n_sentences": sentence.max(axis=1, initial=-1) + 1,
        }


def tokenize(
    prepared: Path,
    out: Path,
    preset: str,
    vocab_size: int,
    max_sentences: int,
    max_tokens: int,
    tokenizer_path: Path | None = None,
) -> None:
    """Write `tokenizer.json`, `tokens.npz` and `manifest.json` for all reports of a dataset.

    The impression comes before the findings, as in PRIOR and MGCA, so that truncation spares it.

    Args:
        prepared: Folder of a prepared dataset whose sentences have been split.
        out: Folder to write.
        preset: Split preset; the vocabulary is trained on its training reports only.
        vocab_size: Upper bound on the vocabulary if it is trained.
        max_sentences: Sentences kept of a report.
        max_tokens: Tokens kept of a report, [CLS] and [SEP] included.
        tokenizer_path: A `tokenizer.json` or `vocab.txt` to use instead of training.

    Raises:
        InputError: A table is missing, there are no training reports, or the tokenizer cannot be read.
    """
    sentences = read_table(prepared, "sentences")
    if sentences.empty:
        raise InputError(f"{prepared}/sentences.parquet is empty; run `prior split-sentences` first.")
    reports = ordered_reports(sentences)
    if tokenizer_path is None:
        training = _training_studies(prepared, preset)
        corpus = [text for study, texts in reports.items() if study in training for text in texts]
        if not corpus:
            raise InputError(
                f"{prepared} has no training reports under preset {preset}; choose a preset with some."
            )
        tokenizer = train_tokenizer(corpus, vocab_size, out / "tokenizer.json")
    else:
        tokenizer = load_tokenizer(tokenizer_path)
        save_tokenizer(tokenizer, out / "tokenizer.json")
    rows = list(encode_reports(tokenizer, list(reports.values()), max_sentences, max_tokens))
    tokens = ReportTokens.from_rows(rows, list(reports), token_id(tokenizer, PAD))
    tokens.save(out / "tokens.npz")
    settings = {"preset": preset, "max_sentences": max_sentences, "max_tokens": max_tokens}
    trained = {"vocab_size": tokenizer.get_vocab_size(), "trained": tokenizer_path is None}
    counts = _counts(tokens, token_id(tokenizer, UNK), max_tokens)
    write_json(out / "manifest.json", {**_origin(prepared), **settings, **trained, **counts})


def ordered_reports(sentences: pd.DataFrame) -> dict[str, list[str]]:
    """Return the sentences of each study, the impression before the findings, as the tokenizer reads them."""
    ordered = ordered_sentences(sentences)
    reports: dict[str, list[str]] = {}
    for study, sentence in zip(ordered["study_id"], ordered["sentence"], strict=True):
        reports.setdefault(study, []).append(sentence)
    return reports


def ordered_sentences(sentences: pd.DataFrame) -> pd.DataFrame:
    """Return the table of sentences by study, the impression before the findings."""
    section = sentences["section"].map({name: rank for rank, name in enumerate(SECTION_ORDER)})
    ordered = sentences.assign(rank=section).sort_values(["study_id", "rank", "position"], kind="stable")
    return ordered.drop(columns="rank")


def _training_studies(prepared: Path, preset: str) -> set[str]:
    """Studies all of whose images are in the training split under every seed."""
    path = prepared / "splits" / f"{preset}.parquet"
    if not path.is_file():
        raise InputError(f"{path} does not exist; prepare the dataset with the split preset {preset}.")
    split = pd.read_parquet(path, columns=["image_id", "split"])
    images = read_table(prepared, "images")[["image_id", "study_id"]]
    joined = split.merge(images, on="image_id", validate="many_to_one")
    only_training = (joined["split"] == "train").groupby(joined["study_id"]).all()
    return set(only_training.index[only_training])


def _origin(prepared: Path) -> dict[str, Any]:
    manifest = read_json(prepared / "manifest.json")
    return {
        "dataset": prepared.name,
        "data": manifest.get("content_hash"),
        "simulated": manifest.get("simulated"),
    }


def _counts(tokens: ReportTokens, unknown: int, max_tokens: int) -> dict[str, Any]:
    lengths = np.diff(tokens.offsets)
    return {
        "reports": len(tokens),
        "tokens": len(tokens.ids),
        "share_unknown": round(float(np.mean(tokens.ids == unknown)), 6),
        "share_at_limit": round(float(np.mean(lengths >= max_tokens)), 6),
        "section_order": list(SECTION_ORDER),
    }
