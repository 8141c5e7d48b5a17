"""Typing up: sections, list numbers, line wrapping, slips of the hand, and character offsets."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from prior.phantom.grammar import language
from prior.phantom.wording import Reader, Slots

HEAD_SLOTS = {"symptom": "symptoms", "history": "histories", "question": "questions", "surgery": "surgeries"}


@dataclass(frozen=True)
class Sentence:
    """A true sentence.

    Attributes:
        section: findings, impression, or the header it stands under.
        text: as dictated, without line breaks.
        meaning: statement codes (`Statement.code`).
        start, end: characters in the report; list numbers are outside.
    """

    section: str
    text: str
    meaning: list[str]
    start: int = -1
    end: int = -1


class Page:
    """A growing text that wraps lines and remembers where sentences stand."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.parts: list[str] = []
        self.length = 0
        self.column = 0

    def raw(self, text: str) -> None:
        """Append text as it is."""
        self.parts.append(text)
        self.length += len(text)
        self.column = len(text) - text.rfind("\n") - 1 if "\n" in text else self.column + len(text)

    def words(self, text: str) -> tuple[int, int]:
        """Append text word by word, breaking lines at the width; return its start and end."""
        start = -1
        for word in text.split(" "):
            if self.column + 1 + len(word) > self.width and self.column > 12:
                self.raw("\n ")
            elif self.parts and not self.parts[-1][-1:].isspace():
                self.raw(" ")
            start = self.length if start < 0 else start
            self.raw(word)
        return start, self.length

    def text(self) -> str:
        """The whole page."""
        return "".join(self.parts)


def misspell(sentence: Sentence, rng: np.random.Generator) -> Sentence:
    """Slip once: swap, drop or double a letter of a longer word."""
    words = sentence.text.split(" ")
    long = [i for i, w in enumerate(words) if len(w) > 5 and w.isalpha()]
    if not long:
        return sentence
    at = int(rng.choice(long))
    word, i = words[at], int(rng.integers(1, len(words[at]) - 2))
    slips = (
        word[:i] + word[i + 1] + word[i] + word[i + 2 :],
        word[:i] + word[i + 1 :],
        word[: i + 1] + word[i:],
    )
    words[at] = slips[int(rng.integers(3))]
    return replace(sentence, text=" ".join(words))


def assemble(
    findings: list[Sentence], impression: list[Sentence], order: int, sex: str, age: int, reader: Reader
) -> tuple[str, list[Sentence]]:
    """Type the report with its sections.

    Args:
        findings: sentences of the body.
        impression: sentences of the conclusion.
        order: 0 for the first study of a patient.
        sex: M or F.
        age: years; written as a blank, like in de-identified text.
        reader: whose habits decide on the layout.

    Returns:
        The text and the findings and impression sentences with their offsets.
    """
    page = Page(int(reader.rng.integers(66, 82)))
    page.raw(" " * 33 + "FINAL REPORT\n")
    _head(page, order, sex, reader)
    done: list[Sentence] = []
    layout = reader.rng.random()
    if layout < 0.06:
        findings, impression = [], [replace(s, section="impression") for s in findings + impression]
    elif layout < 0.10:
        findings, impression = findings + [replace(s, section="findings") for s in impression], []
    if findings:
        page.raw(" FINDINGS: " + ("\n \n " if reader.chance(0.8) else ""))
        done += _body(page, findings, numbered=False)
        page.raw("\n \n")
    if impression:
        page.raw(" IMPRESSION: " + ("\n \n " if reader.chance(0.7) else ""))
        done += _body(page, impression, numbered=len(impression) > 1 and reader.chance(0.6))
        page.raw("\n")
    return page.text(), done


def _head(page: Page, order: int, sex: str, reader: Reader) -> None:
    data = language()["structure"]
    slots: Slots = {name: _favourite(reader, data[key], key) for name, key in HEAD_SLOTS.items()}
    slots["n"] = lambda: str(reader.rng.integers(2, 9))
    page.raw(f" EXAMINATION:  {reader.favourite(data['exams'], 'exams')}\n \n INDICATION:  ")
    template = reader.favourite(data["indications"], "indications", 0.6)
    gender = "(man|male)" if sex == "M" else "(woman|female)"
    for both in ("(man|woman|male|female)", "(man|woman)"):
        template = template.replace(both, gender)
    page.words(reader.say(template, slots))
    if reader.chance(0.4):
        page.raw("\n \n TECHNIQUE:  ")
        page.words(reader.say(reader.favourite(data["techniques"], "techniques")))
    comparison = "comparisons_prior" if order else "comparisons"
    page.raw("\n \n COMPARISON:  ")
    page.words(reader.say(reader.favourite(data[comparison], comparison)))
    page.raw("\n \n")


def _favourite(reader: Reader, words: list[str], key: str) -> Callable[[], str]:
    return lambda: reader.favourite(words, key, 0.6)


def _body(page: Page, sentences: list[Sentence], numbered: bool) -> list[Sentence]:
    done = []
    for number, sentence in enumerate(sentences, 1):
        if numbered:
            page.raw((" " if number == 1 else "\n ") + f"{number}. ")
            start, end = page.words(sentence.text)
        else:
            start, end = page.words(sentence.text)
        done.append(replace(sentence, start=start, end=end))
    return done
