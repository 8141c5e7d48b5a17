"""Reports as plain words: what a decoder learns to write, and what text metrics compare.

Lower case, no punctuation but decimal points, no list numbers and de-identification blanks, every sentence
ended by a full stop that is a word of its own, as in R2Gen's cleaned reports. The form does not depend on any
vocabulary, so references keep their rare words.
"""

from collections.abc import Sequence

import pandas as pd

from prior.errors import InputError
from prior.reports.boundaries import sentence_spans
from prior.reports.normalise import normalised_text

STOP = "."


def plain_text(*passages: str | None) -> str:
    """Return passages (section bodies) as one line of words; empty if they hold no word.

    Args:
        passages: raw text of the sections in the order in which they are to stand; None for a missing one.
    """
    sentences = [
        normalised_text([passage[start:end]])
        for passage in passages
        if isinstance(passage, str)
        for start, end in sentence_spans(passage)
    ]
    return " ".join(f"{words} {STOP}" for words in sentences if words)


def plain_reports(reports: pd.DataFrame, sections: Sequence[str]) -> dict[str, str]:
    """Return study → plain words of the studies that have any.

    Args:
        reports: table with `study_id` and a column of raw text per section.
        sections: columns to use, in order.

    Raises:
        InputError: a section is no column.
    """
    unknown = [name for name in sections if name not in reports.columns]
    if unknown:
        raise InputError(
            f"reports have no section `{unknown[0]}`; choose from findings and impression in the protocol"
        )
    columns = [reports[name] for name in sections]
    texts = {
        str(study): plain_text(*passages)
        for study, *passages in zip(reports["study_id"], *columns, strict=True)
    }
    return {study: text for study, text in texts.items() if text}
