"""One spelling of "the same text": what the tokenizer reads, and what makes two reports equal."""

import re
from collections.abc import Iterable

_ITEM = re.compile(r"^\s*(?:\(?\d{1,2}[.)](?=\s+\S|[A-Za-z])|[-*•]\s)\s*")
_BLANK = re.compile(r"_{2,}")
_NOT_TEXT = re.compile(r"[^a-z0-9.]+|\.(?!\d)")


def clean_sentence(sentence: str) -> str:
    """Drop a leading list number or bullet, shorten de-identification blanks, collapse white space."""
    return " ".join(_BLANK.sub("_", _ITEM.sub("", sentence)).split())


def normalised_text(sentences: Iterable[str]) -> str:
    """Return the key by which reports count as identical: lower case, no list numbers, no punctuation."""
    cleaned = (_NOT_TEXT.sub(" ", clean_sentence(sentence).lower()) for sentence in sentences)
    return " | ".join(" ".join(text.split()) for text in cleaned)
