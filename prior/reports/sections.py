"""Sections of a radiology report: where its findings and its impression stand.

A header is a name followed by a colon at the start of a line; for the two names that matter also after the
end of a sentence and, in capitals, before a dash or alone on its line. Only known names end a section:
`LUNGS:` inside the findings stays there. Misspellings are recognised by their edit distance to those two
names. Text under no header counts as findings, so that a report without any header is not lost.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

FINDINGS = "findings"
IMPRESSION = "impression"
_FREE = "free"
_OTHER = "other"
_CLOSED = "closed"

_FINDINGS_NAMES = ("FINDINGS", "FINDING", "REPORT", "RADIOGRAPHIC FINDINGS", "CHEST FINDINGS", "OBSERVATIONS")
_IMPRESSION_NAMES = (
    "IMPRESSION",
    "IMPRESSIONS",
    "PRESSION",
    "IMP",
    "CONCLUSION",
    "CONCLUSIONS",
    "OPINION",
    "SUMMARY",
    "FINAL IMPRESSION",
    "INTERPRETATION",
)
_OTHER_NAMES = (
    "ATTENDING",
    "CLINICAL HISTORY",
    "CLINICAL INDICATION",
    "CLINICAL INFORMATION",
    "COMPARISON",
    "COMPARISONS",
    "COMPARISON EXAM",
    "COMPARISON STUDY",
    "DATE",
    "DOSE",
    "EXAM",
    "EXAMINATION",
    "HISTORY",
    "INDICATION",
    "INDICATIONS",
    "NOTE",
    "NOTIFICATION",
    "PATIENT HISTORY",
    "PRIOR STUDY",
    "PROCEDURE",
    "REASON FOR EXAM",
    "REASON FOR EXAMINATION",
    "REASON FOR STUDY",
    "REASON FOR THE EXAM",
    "RECOMMENDATION",
    "RECOMMENDATIONS",
    "RECOMMENDATION(S)",
    "STUDY",
    "TECHNIQUE",
    "TYPE OF EXAMINATION",
)
_KNOWN = {
    **dict.fromkeys(_FINDINGS_NAMES, FINDINGS),
    **dict.fromkeys(_IMPRESSION_NAMES, IMPRESSION),
    **dict.fromkeys(_OTHER_NAMES, _OTHER),
    **dict.fromkeys(("ADDENDUM", "WET READ"), _CLOSED),
}
_VIEW_HEADER = re.compile(r"\b(?:CHEST|VIEWS?|RADIOGRAPHS?|FRONTAL|LATERAL|PORTABLE)\b")
_ANATOMY = re.compile(r"(?:THE )?(?:LUNGS?|HEART|CARDIAC|MEDIASTINUM|PLEURAL?|BONES?|OSSEOUS|LINES|TUBES)\b")
_COMBINED = re.compile(r"([A-Z]+)(?:\s+AND\s+|\s*[&/,]\s*)([A-Z]+)")
_LINE_HEADER = re.compile(r"^[ \t]*([A-Za-z][A-Za-z ()/&,\-]{1,58}+)[ \t]*:", re.MULTILINE)
_INLINE_HEADER = re.compile(
    r"(?<=[.!?:\]])[ \t]+"
    r"((?:FINDINGS?|IMPRESSIONS?)(?: AND (?:IMPRESSION|FINDINGS))?|Findings?|Impressions?)[ \t]*:"
)
_PARAGRAPH_BREAK = re.compile(r"\n[ \t\r]*\n")
# Behind a rule or the title of the report its text begins anew.
_BANNER = re.compile(
    r"^[ \t_*]*(?:"
    r"(?P<free>(?:FINAL|PRELIMINARY)[ \t]+REPORT[ \t_*]*$|(?<=_{5})[ \t]*$)"
    r"|(?P<closed>(?:FINAL[ \t]+|PRELIMINARY[ \t]+)?ADDENDUM\b(?![ \t]*:)|WET[ \t]+READ[ \t_*]*$)"
    r"|(?P<bare>FINDINGS?|IMPRESSIONS?|CONCLUSIONS?)[ \t]*(?:$|-[ \t]))",
    re.MULTILINE,
)
_WORD = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True)
class SectionSpan:
    """One stretch `text[start:end]` of a report that belongs to `section` (findings or impression)."""

    section: str
    start: int
    end: int


@dataclass(frozen=True)
class Sections:
    """What `split_sections` found: the two section texts (None if absent) and their spans in order."""

    findings: str | None
    impression: str | None
    spans: tuple[SectionSpan, ...]


@dataclass(frozen=True)
class _Header:
    kind: str
    start: int
    body: int


def split_sections(text: str) -> Sections:
    """Find the findings and the impression of a report.

    A combined `FINDINGS AND IMPRESSION` section counts as findings. Paragraphs under no header
    (also those that follow a one-paragraph section such as COMPARISON) are findings, unless the report
    has a findings header of its own. Titles and clinical history are left out; so are wet reads and addenda,
    up to the next header, rule of underscores or title of the report.

    Args:
        text: The whole report.

    Returns:
        Section texts and spans; spans hold no leading or trailing white space.
    """
    stretches = list(_stretches(text))
    has_findings = any(kind == FINDINGS for kind, _, _ in stretches)
    spans = []
    for kind, start, end in stretches:
        section = FINDINGS if kind == _FREE and not has_findings else kind
        if section in (FINDINGS, IMPRESSION):
            spans.append(SectionSpan(section, start, end))
    return Sections(_joined(text, spans, FINDINGS), _joined(text, spans, IMPRESSION), tuple(spans))


def _joined(text: str, spans: list[SectionSpan], section: str) -> str | None:
    parts = [text[span.start : span.end] for span in spans if span.section == section]
    return "\n\n".join(parts) or None


def _stretches(text: str) -> Iterator[tuple[str, int, int]]:
    headers = _headers(text)
    first = headers[0].start if headers else len(text)
    yield from _free_paragraphs(text, 0, first)
    for index, header in enumerate(headers):
        stop = headers[index + 1].start if index + 1 < len(headers) else len(text)
        if header.kind == _FREE:
            yield from _free_paragraphs(text, header.body, stop)
        elif header.kind == _OTHER:
            # A blank line right behind the header is layout, not the end of its paragraph.
            lead = header.body + len(text[header.body : stop]) - len(text[header.body : stop].lstrip())
            blank = _PARAGRAPH_BREAK.search(text, lead, stop)
            if blank:
                yield from _free_paragraphs(text, blank.end(), stop)
        elif header.kind != _CLOSED:
            start, end = _trim(text, header.body, stop)
            if _WORD.search(text, start, end):
                yield header.kind, start, end


def _headers(text: str) -> list[_Header]:
    matches = [*_LINE_HEADER.finditer(text), *_INLINE_HEADER.finditer(text), *_BANNER.finditer(text)]
    found: list[_Header] = []
    inside = False
    for match in sorted(matches, key=_start):
        banner = match.lastgroup if match.lastgroup != "bare" else None
        kind = banner or _kind(match.group(match.lastindex or 0), inside)
        if kind is not None and not (found and _start(match) < found[-1].body and kind == _OTHER):
            # `LUNGS: Clear.` without a header of findings: the name is a part of what is said
            spoken = kind == _FREE and banner is None
            found.append(_Header(kind, match.start(), match.start() if spoken else match.end()))
            inside = kind in (FINDINGS, IMPRESSION)
    return found


def _start(match: re.Match[str]) -> int:
    return match.start(match.lastindex or 0)


@lru_cache(maxsize=4096)
def _kind(name: str, inside: bool) -> str | None:
    upper = " ".join(name.upper().split())
    combined = _COMBINED.fullmatch(upper)
    if combined and {_KNOWN.get(part) or _misspelt(part) for part in combined.groups()} == {
        FINDINGS,
        IMPRESSION,
    }:
        return FINDINGS
    known = _KNOWN.get(upper) or _misspelt(upper)
    if known is not None:
        return known
    if inside or not name.isupper():
        return None
    if _ANATOMY.match(upper):
        return _FREE
    return FINDINGS if _VIEW_HEADER.search(upper) else _OTHER


def _misspelt(upper: str) -> str | None:
    for name, section, allowed in (("FINDINGS", FINDINGS, 2), ("IMPRESSION", IMPRESSION, 3)):
        if (
            abs(len(upper) - len(name)) <= allowed
            and upper[0] == name[0]
            and _distance(upper, name) <= allowed
        ):
            return section
    return None


def _distance(left: str, right: str) -> int:
    """Levenshtein distance."""
    previous = list(range(len(right) + 1))
    for row, a in enumerate(left, 1):
        current = [row]
        for column, b in enumerate(right, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (a != b)))
        previous = current
    return previous[-1]


def _free_paragraphs(text: str, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
    position = start
    breaks = [(match.start(), match.end()) for match in _PARAGRAPH_BREAK.finditer(text, start, stop)]
    for end, following in [*breaks, (stop, stop)]:
        first, last = _trim(text, position, end)
        if first < last and not _is_title(text[first:last]):
            yield _FREE, first, last
        position = following


def _is_title(paragraph: str) -> bool:
    capital = paragraph.isupper() and not paragraph.endswith((".", "!", "?"))
    return capital or not _WORD.search(paragraph)


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
