"""Where a sentence of radiology prose ends: a general splitter plus the rules of the domain.

`sentencex` knows English titles, initials and decimals. Reports add list numbers, lines wrapped at 80
characters, de-identification blanks, times, shorthand that ends in a full stop, sub-headers, and full
stops without a space behind them. Those are handled by letting the library see a masked copy of the same
length, so that every offset keeps its meaning.
"""

import re
from functools import lru_cache
from itertools import pairwise

from sentencex import get_sentence_boundaries

Span = tuple[int, int]

_PARAGRAPH_BREAK = re.compile(r"\n[ \t\r]*(?=\n)")
_NUMBER = r"\(?(\d{1,2})[.)](?=\s+\S|[A-Za-z])"
_LINE_ITEM = re.compile(rf"^[ \t]*({_NUMBER})", re.MULTILINE)
_INLINE_ITEM = re.compile(rf"(?<=[.!?:;)\]])[ \t]+({_NUMBER})")
_LINE_OPENER = re.compile(r"^[ \t]*(?=(?:[-*•][ \t]+\S)|(?:[A-Z][A-Z /&]{2,30}:(?:\s|$)))", re.MULTILINE)
_RUN_ON_ITEM = re.compile(
    r"(?<=[a-z])(?<! rib)(?<! ribs)(?<! level)(?<! grade)(?<! stage)(?<! type)(?<! zone)(?<! segment)"
    r"[ \t]+((\d{1,2})[.)])(?=\s+[A-Z][a-z])"
)
_TERMINATORS = ".!?:;)]"
_MAX_ITEM = 20
_OPENER = re.compile(rf"\s*(?:{_NUMBER}|[-*•]\s)\s*")

# Shorthand whose full stop never ends a sentence.
_ALWAYS = r"[Aa]pprox|ca|cf|vs|e\.g|i\.e|Dr|Drs|Mr|Mrs|Ms|Prof|St|Fig|dr|drs|DR|DRS"
# Shorthand that may end one: no end if the text goes on in lower case, with a digit or with a blank.
_MAYBE = (
    r"ant|bilat|dept|decub|ext|hr|hrs|inf|incl|lat|[Ll]t|max|med|min|mod|neg|pos|poss|post|prob|pt|resp|[Rr]t|"
    r"sec|sig|sup|temp|tel|w|"
    r"[Aa]\.[Mm]|[Pp]\.[Mm]|M\.D|R\.N|P\.A|A\.P|N\.P|D\.O|Ph\.D"
)
_MASKED = re.compile(
    rf"\b(?:{_ALWAYS})\.(?=\s|_|X)"
    rf"|\b(?:{_MAYBE})\.(?=\s*[,;)/]|\s+(?:[a-z0-9_]|XXXX))"
    r"|\b[Nn]o\.(?=\s*\d)"
    r"|\?(?=\s*[a-z])"
)
_STOPS = str.maketrans(".?", ",,")
_LAYOUT = str.maketrans("\n\r\t", "   ")
_MISSED = re.compile(r"(?<=[A-Za-z_)\]%\"][A-Za-z_)\]%\"][.?!])\s+(?=[A-Z_])|(?<=[.?!][)\]\"])\s+(?=[A-Z])")
_CONTENT = re.compile(r"[A-Za-z0-9_]")


def sentence_spans(text: str) -> list[Span]:
    """Return the character spans of the sentences of one passage (a section body), in order.

    List numbers, bullets and stretches without a letter, digit or blank belong to no sentence. Spans never
    overlap and neither start nor end with white space.
    """
    return [
        (offset + start, offset + end)
        for offset, stop in _blocks(text)
        for start, end in _block_spans(text[offset:stop])
    ]


def _blocks(text: str) -> list[Span]:
    """Cut a passage at blank lines, list items, bullets and sub-headers."""
    cuts = {0, len(text)}
    cuts.update(match.end() for match in _PARAGRAPH_BREAK.finditer(text))
    cuts.update(match.end() for match in _LINE_OPENER.finditer(text))
    cuts.update(_items(text))
    ordered = sorted(cuts)
    return list(pairwise(ordered))


def _items(text: str) -> list[int]:
    """Return where list items start: behind the end of a sentence, or where the next number is due."""
    candidates = sorted(
        (match.start(1), int(match.group(2)), kind)
        for kind, pattern in enumerate((_LINE_ITEM, _INLINE_ITEM, _RUN_ON_ITEM))
        for match in pattern.finditer(text)
    )
    starts: list[int] = []
    due = 0
    for start, number, kind in candidates:
        # A line may begin with the "12." of "T\n12.", and a sentence may end with a number: without the
        # end of a sentence before it, a number counts only if the list so far asks for it.
        free = kind == 1 or (kind == 0 and _ended_before(text, start))
        if number <= _MAX_ITEM if free else number == due or (kind == 0 and number == 1):
            starts.append(start)
            due = number + 1
    return starts


def _ended_before(text: str, position: int) -> bool:
    """Whether a sentence, a paragraph or nothing at all precedes `position`."""
    before = text[:position].rstrip(" \t")
    ended = before.rstrip()
    return not ended or ended[-1] in _TERMINATORS or before.count("\n", len(ended)) > 1


@lru_cache(maxsize=1 << 15)
def _block_spans(block: str) -> tuple[Span, ...]:
    opener = _OPENER.match(block)
    first = opener.end() if opener else 0
    masked = _mask(block[first:])
    spans: list[Span] = []
    for boundary in get_sentence_boundaries("en", masked):
        start, end = boundary["start_index"], boundary["end_index"]
        for missed in _MISSED.finditer(masked, start, end):
            _append(spans, block, first + start, first + missed.start())
            start = missed.end()
        _append(spans, block, first + start, first + end)
    return tuple(spans)


def _mask(prose: str) -> str:
    return _MASKED.sub(lambda match: match.group().translate(_STOPS), prose).translate(_LAYOUT)


def _append(spans: list[Span], block: str, start: int, end: int) -> None:
    piece = block[start:end]
    if _CONTENT.search(piece):
        spans.append((start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
