"""Control: reports that say no more than the labels of their study."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from prior.data.files import read_json
from prior.data.prepared import PreparedDataset
from prior.errors import InputError
from prior.reports.tokens import ReportTokens, load_tokenizer
from prior.reports.wordpiece import PAD, encode_reports, token_id

_TEMPLATES = {1.0: "There is {}.", 0.0: "There is no {}.", -1.0: "There may be {}."}
# Where images of one study differ, present wins over uncertain and uncertain over absent.
_RANKS = {0.0: 0, -1.0: 1, 1.0: 2}


def label_reports(
    data: PreparedDataset, images: pd.DataFrame, studies: Sequence[str], tokens_root: Path
) -> ReportTokens:
    """Tokenise one sentence for every label that a study has, as its written report was tokenised.

    The findings come in the order of the label table. A finding that the labels leave open gets no sentence,
    so a study without labels has none.

    Args:
        data: pre-training data set.
        images: training images (image_id, study_id); labels of other images are not read.
        studies: study ids, in the order of the reports returned.
        tokens_root: its tokens; the tokenizer and the largest number of tokens are taken from there.

    Raises:
        InputError: the data set has no labels.
    """
    if not data.findings:
        raise InputError(
            f"reports: labels replaces reports by labels, but {data.name} has none; leave these entries of "
            "method_settings out or choose another pretraining.dataset"
        )
    tokenizer = load_tokenizer(tokens_root / "tokenizer.json")
    labels = _study_labels(data.labels, images).reindex(list(studies))
    sentences = [_state(row, data.findings) for row in labels[data.findings].to_numpy()]
    limit = read_json(tokens_root / "manifest.json")["max_tokens"]
    rows = list(encode_reports(tokenizer, sentences, max_tokens=limit))
    return ReportTokens.from_rows(rows, list(studies), token_id(tokenizer, PAD))


def _study_labels(labels: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    joined = images[["image_id", "study_id"]].merge(labels, on="image_id").drop(columns="image_id")
    ranks = joined.set_index("study_id").replace(_RANKS)
    return ranks.groupby("study_id").max().replace({rank: value for value, rank in _RANKS.items()})


def _state(values: Iterable[float], findings: Sequence[str]) -> list[str]:
    stated = [(name, value) for name, value in zip(findings, values, strict=True) if value in _TEMPLATES]
    return [_TEMPLATES[value].format(name.replace("_", " ").lower()) for name, value in stated]
