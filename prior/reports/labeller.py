"""A rule labeller of the 14 CheXpert findings: present, absent, uncertain or not mentioned, with scopes.

Reports are cut into sentences; phrases of `labeller.yaml` find mentions of a finding and cues of negation and
doubt. A cue in front of a mention reaches it unless a new statement begins or a verb ends the cue's phrase; a
cue behind a mention reaches back to the last new statement; a cue inside a mention always counts. Of several
cues the nearest decides; a mention that none reaches is present. In a report, present beats uncertain beats
absent. The rules are this project's own: other labellers draw the line elsewhere, `concerning for` among the
examples, which counts as present here.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

NAME = "rule labeller of prior/reports/labeller.py"
RULES = Path(__file__).with_suffix(".yaml")
NO_FINDING = "No_Finding"
SUPPORT = "Support_Devices"
FINDINGS = (
    NO_FINDING,
    "Enlarged_Cardiomediastinum",
    "Cardiomegaly",
    "Lung_Opacity",
    "Lung_Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural_Effusion",
    "Pleural_Other",
    "Fracture",
    SUPPORT,
)
PRESENT, ABSENT, UNCERTAIN = 1, 0, -1

_END = re.compile(r"(?<!\bvs)[.;:!?](?=\s|$|[a-z]{3})|\n[ \t\r]*\n")
_NOT_WORD = re.compile(r"[^a-z0-9.,]+|(?<!\d)\.|\.(?!\d)")
_COMMA = re.compile(r"\s*,\s*")
_GLUE = re.compile(r"\b(?:and|or|nor)\b")
_RANK = {PRESENT: 2, UNCERTAIN: 1, ABSENT: 0}
# Earlier groups win where several match at the same word: `not excluded` is doubt and no negation.
_ORDER = (
    *("pseudo", "ignored_before", "uncertain_after", "uncertain_around", "uncertain_before"),
    *("negative_after", "negative_before", "stops", "verbs"),
)


@dataclass(frozen=True)
class _Span:
    kind: str
    start: int
    end: int


def label_report(text: str) -> dict[str, int]:
    """Label a report, raw or as plain words.

    Args:
        text: one or more sections; headers, history and technique are not recognised and do not belong in it.

    Returns:
        Finding → 1 present, 0 absent, -1 uncertain; findings that are not mentioned are left out.
        `No_Finding` is present if the text has words and no finding but support devices is present or
        uncertain.
    """
    labels: dict[str, int] = {}
    sentences = list(_sentences(text))
    for sentence in sentences:
        for finding, value in label_sentence(sentence):
            if finding not in labels or _RANK[value] > _RANK[labels[finding]]:
                labels[finding] = value
    abnormal = any(value != ABSENT for finding, value in labels.items() if finding != SUPPORT)
    if sentences and not abnormal:
        labels[NO_FINDING] = PRESENT
    return labels


def positive_matrix(texts: Iterable[str]) -> NDArray[np.bool_]:
    """Return which findings each text asserts or suspects, [texts, 14] in the order of `FINDINGS`."""
    labels = [label_report(text) for text in texts]
    rows = [[label.get(finding, ABSENT) != ABSENT for finding in FINDINGS] for label in labels]
    return np.array(rows, dtype=bool).reshape(-1, len(FINDINGS))


def _sentences(text: str) -> Iterator[str]:
    """Yield sentences as lower-case words; commas are words, hyphens and other marks are spaces."""
    for sentence in _END.split(text.lower()):
        words = " ".join(_COMMA.sub(" , ", _NOT_WORD.sub(" ", sentence)).split())
        if any(character.isalpha() for character in words):
            yield words


@lru_cache(maxsize=1 << 15)
def label_sentence(words: str) -> tuple[tuple[str, int], ...]:
    """Return (finding, value) of every mention and denial in one sentence of lower-case words."""
    rules = _rules()
    found = [_Span(f, *m.span()) for f, pattern in rules.mentions.items() for m in pattern.finditer(words)]
    found.sort(key=lambda span: (span.start, span.end))
    marks = [_Span(str(m.lastgroup), *m.span()) for m in rules.cues.finditer(words)]
    marks += _restarts(words, found)
    valued = [(mention.kind, _value(mention, marks)) for mention in found]
    denied = [(f, ABSENT) for f, pattern in rules.denials.items() if pattern.search(words)]
    return tuple((finding, value) for finding, value in [*valued, *denied] if value is not None)


@dataclass(frozen=True)
class _Rules:
    """Patterns of mentions and denials by finding, of cues (a group per kind) and of new assertions."""

    mentions: dict[str, re.Pattern[str]]
    denials: dict[str, re.Pattern[str]]
    cues: re.Pattern[str]
    restarts: re.Pattern[str]


@cache
def _rules() -> _Rules:
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    findings, cues = rules["findings"], rules["cues"]
    return _Rules(
        mentions={name: _any_of(rule["mentions"]) for name, rule in findings.items()},
        denials={name: _any_of(rule["denials"]) for name, rule in findings.items() if rule["denials"]},
        cues=re.compile("|".join(f"(?P<{kind}>{_alternatives(cues[kind])})" for kind in _ORDER)),
        restarts=_any_of(cues["restarts"]),
    )


def _any_of(phrases: Iterable[str]) -> re.Pattern[str]:
    return re.compile(_alternatives(phrases))


def _alternatives(phrases: Iterable[str]) -> str:
    longest_first = sorted(phrases, key=len, reverse=True)
    return rf"(?<!\S)(?:{'|'.join(longest_first)})(?!\S)"


def _restarts(words: str, mentions: list[_Span]) -> Iterator[_Span]:
    """Yield stops where a mention is followed by a new assertion: `no pneumothorax small effusion`."""
    for before, after in pairwise(mentions):
        between = words[before.end : after.start]
        if _rules().restarts.search(between) and not _GLUE.search(between):
            yield _Span("stops", before.end, before.end)


def _value(mention: _Span, marks: list[_Span]) -> int | None:
    """Return the value of a mention, None if it is no statement about the film."""
    reaching = [(gap, mark) for mark in marks if (gap := _gap(mention, mark, marks)) is not None]
    if not reaching:
        return PRESENT
    kind = min(reaching, key=lambda pair: pair[0])[1].kind
    if kind.startswith("ignored"):
        return None
    return UNCERTAIN if kind.startswith("uncertain") else ABSENT


def _gap(mention: _Span, mark: _Span, marks: list[_Span]) -> int | None:
    """Return the characters between a cue and the mention that it reaches, None if it does not reach it."""
    if mark.kind in ("pseudo", "stops", "verbs"):
        return None
    if mention.start <= mark.start and mark.end <= mention.end:
        return 0
    if mark.kind.endswith(("_before", "_around")) and mark.end <= mention.start:
        closed = _closed(mark.end, mention.start, marks, ("stops", "verbs"))
        return None if closed else mention.start - mark.end
    if mark.kind.endswith(("_after", "_around")) and mark.start >= mention.end:
        # `versus` doubts its two neighbours, not what an earlier verb or cue speaks of.
        kinds = ("stops", "verbs", "uncertain_before") if mark.kind.endswith("_around") else ("stops",)
        closed = _closed(mention.end, mark.start, marks, kinds)
        return None if closed else mark.start - mention.end
    return None


def _closed(start: int, end: int, marks: list[_Span], kinds: tuple[str, ...]) -> bool:
    return any(mark.kind in kinds and start <= mark.start < end for mark in marks)
