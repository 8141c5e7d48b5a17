"""The report grammar: what a radiologist would write, with true sentence borders and meanings."""

import re
from dataclasses import dataclass, field, replace

import numpy as np

from prior.phantom.dictation import Sentence, assemble, misspell
from prior.phantom.findings import KINDS, PREVALENCE, RARE, Finding, draw_finding
from prior.phantom.grammar import language
from prior.phantom.wording import READERS, Reader, Slots, slots_of

OMISSION = 0.15
FALSE_MENTION = 0.03
MACROS = 5
DENIALS = {
    "Cardiomegaly": 0.62, "Consolidation": 0.62, "Pleural_Effusion": 0.75, "Pneumothorax": 0.6, "Edema": 0.22,
    "Fracture": 0.30, "Pneumonia": 0.12, "Atelectasis": 0.05, "Lung_Lesion": 0.07, "Support_Devices": 0.0,
    "Enlarged_Cardiomediastinum": 0.03, "Lung_Opacity": 0.03, "Pleural_Other": 0.04,
}  # fmt: skip
LUNG_KINDS = ("Consolidation", "Pneumonia", "Edema", "Lung_Lesion", "Lung_Opacity")
ORDER = ("Support_Devices", "Cardiomegaly", "Enlarged_Cardiomediastinum", "Edema", "Consolidation",
         "Pneumonia", "Lung_Opacity", "Atelectasis", "Lung_Lesion", "Pleural_Effusion",
         "Pneumothorax", "Pleural_Other", "Fracture")  # fmt: skip
ALSO = re.compile(r"\[(opacity|mediastinum)(=1)?\]")
ALSO_KINDS = {"opacity": "Lung_Opacity", "mediastinum": "Enlarged_Cardiomediastinum"}


@dataclass(frozen=True)
class Statement:
    """One claim of a sentence: value 1 asserted, -1 uncertain, 0 denied."""

    kind: str
    value: int
    side: str = ""
    zone: str = ""
    grade: str = ""
    status: str = ""

    def code(self) -> str:
        """Compact text form for the truth table."""
        return "|".join((self.kind, str(self.value), self.side, self.zone, self.grade, self.status))


@dataclass(frozen=True)
class StudyFacts:
    """What the reader knows of a study."""

    findings: list[Finding]
    before: list[Finding]
    order: int
    sex: str
    age: int


@dataclass
class Draft:
    """A report under way."""

    reader: Reader
    facts: StudyFacts
    mentioned: list[Finding]
    findings: list[Sentence] = field(default_factory=list)
    impression: list[Sentence] = field(default_factory=list)

    @property
    def compared(self) -> bool:
        """Whether an earlier study is at hand."""
        return self.facts.order > 0


@dataclass(frozen=True)
class Report:
    """A finished report.

    Attributes:
        text: as the hospital stores it.
        sentences: true sentences with character offsets into `text` and what they mean.
        labels: 1 / 0 / -1 per kind as a perfect labeller would read them; kinds not mentioned are left out.
        mentioned: findings the reader wrote about (after omissions and false mentions).
    """

    text: str
    sentences: list[Sentence]
    labels: dict[str, int]
    mentioned: list[Finding]


def compose(facts: StudyFacts, rng: np.random.Generator) -> Report:
    """Dictate the report of a study.

    Args:
        facts: findings now and before, patient.
        rng: draws of this study; equal states give equal reports.
    """
    reader = Reader(int(READERS * rng.random() ** 1.5), rng)
    mentioned = [f for f in facts.findings if rng.random() >= OMISSION]
    if rng.random() < FALSE_MENTION:
        mentioned += _false_mention(rng, {f.kind for f in facts.findings})
    draft = Draft(reader, facts, mentioned)
    if mentioned or (draft.compared and facts.before) or reader.chance(0.28):
        _dictate(draft)
    else:
        # A normal film is answered with one of the reader's stored texts: equal films, equal reports.
        macro = int(MACROS * rng.random() ** 1.6)
        draft.reader = Reader(reader.number, np.random.default_rng([7, reader.number, macro]))
        _dictate(draft)
        draft.reader = reader
    for group in (draft.findings, draft.impression):
        group[:] = [s if rng.random() >= 0.02 else misspell(s, rng) for s in group]
    text, sentences = assemble(draft.findings, draft.impression, facts.order, facts.sex, facts.age, reader)
    return Report(text, sentences, _labels(sentences), mentioned)


def _false_mention(rng: np.random.Generator, present: set[str]) -> list[Finding]:
    absent = [k for k in KINDS if k not in present]
    weights = np.array([PREVALENCE[k] for k in absent])
    return [draw_finding(rng, str(rng.choice(absent, p=weights / weights.sum())))]


def _labels(sentences: list[Sentence]) -> dict[str, int]:
    """Assertion beats uncertainty beats denial, as in the CheXpert labeller."""
    labels: dict[str, int] = {}
    for sentence in sentences:
        for code in sentence.meaning:
            kind, value = code.split("|")[:2]
            known = labels.get(kind)
            if known is None or {1: 2, -1: 1, 0: 0}[int(value)] > {1: 2, -1: 1, 0: 0}[known]:
                labels[kind] = int(value)
    return labels


def _dictate(draft: Draft) -> None:
    reader, structure = draft.reader, language()["structure"]
    if reader.chance(0.10):
        _plain(draft, "opening", structure["opening"])
    by_kind = {f.kind: f for f in draft.mentioned}
    denied: set[str] = set()
    for kind in ORDER:
        if kind in by_kind:
            _assert(draft, by_kind[kind])
        elif kind not in denied:
            _deny(draft, kind, by_kind, denied)
        if kind == "Cardiomegaly" and reader.chance(0.18):
            _plain(draft, "mediastinum", structure["mediastinum"])
    if draft.compared:
        _resolved(draft, by_kind)
    for _ in range(int(reader.chance(0.44)) + int(reader.chance(0.16))):
        _plain(draft, "incidental", language()["incidental"])
    _conclude(draft)


def _sentence(
    draft: Draft, section: str, template: str, slots: Slots, value: int, statements: list[Statement]
) -> Sentence:
    """Say a template; what it says in passing of further kinds (`ALSO`) joins the meaning with `value`."""
    spoken = draft.reader.say(template, slots)
    said = {statement.kind for statement in statements}
    further = {ALSO_KINDS[name]: 1 if sure else value for name, sure in ALSO.findall(spoken)}
    codes = [s.code() for s in statements]
    codes += [Statement(kind, v).code() for kind, v in further.items() if kind not in said]
    return Sentence(section, ALSO.sub("", spoken), codes)


def _unopposed(phrases: list[str], mentioned: set[str]) -> list[str]:
    """Phrases of absence that deny in passing nothing that the reader has seen."""
    return [p for p in phrases if not {ALSO_KINDS[name] for name, _ in ALSO.findall(p)} & mentioned]


def _plain(draft: Draft, key: str, phrases: list[str]) -> None:
    strength = 0.25 if key == "incidental" else 0.8
    phrases = _unopposed(phrases, {f.kind for f in draft.mentioned})
    template = draft.reader.favourite(phrases, key, strength)
    sentence = _sentence(draft, "findings", template, {"side": lambda: "(left|right)"}, 0, [])
    if all(sentence.text != s.text for s in draft.findings):
        draft.findings.append(sentence)


def _assert(draft: Draft, finding: Finding) -> None:
    reader, phrases = draft.reader, language()["findings"]["kinds"][finding.kind]
    hedged = reader.chance(0.14 if finding.severity < 0.3 else 0.035)
    told = bool(finding.status) and draft.compared and reader.chance(0.66)
    if told and finding.status == "new":
        template = "New " + _lower(reader.favourite(phrases["summary"], finding.kind + "s")) + "."
        hedged = False
    elif told and not hedged:
        template = reader.favourite(phrases["changed"], finding.kind + "c")
    else:
        form = "hedged" if hedged else "positive"
        template = reader.favourite(phrases[form], finding.kind + form)
    value = -1 if hedged else 1
    statement = Statement(finding.kind, value, finding.side, finding.zone, finding.grade, finding.status)
    slots = slots_of(finding, reader)
    draft.findings.append(_sentence(draft, "findings", template, slots, value, [statement]))


def _lower(text: str) -> str:
    return text if text[:1] in "{(" else text[:1].lower() + text[1:]


def _deny(draft: Draft, kind: str, by_kind: dict[str, Finding], denied: set[str]) -> None:
    """Say that `kind` is absent, alone or in one breath with others, or keep silent."""
    reader, data = draft.reader, language()
    group: tuple[str, ...] = (kind,)
    phrases, key = data["findings"]["kinds"][kind]["negative"], kind + "n"
    if kind in RARE:
        # A stream of their own: the rare kinds came later and leave all other draws as they were.
        reader = Reader(reader.number, reader.rng.spawn(1)[0])
        if kind == "Lung_Opacity" and set(LUNG_KINDS) & set(by_kind):
            return
    if not phrases or not reader.chance(DENIALS[kind]):
        return
    triple, pair = ("Consolidation", "Pleural_Effusion", "Pneumothorax"), ("Pleural_Effusion", "Pneumothorax")
    if kind == "Consolidation" and not set(triple + LUNG_KINDS) & set(by_kind) and reader.chance(0.30):
        group, phrases, key = triple, data["structure"]["lungs_all"], "lungs"
    elif kind == "Pleural_Effusion" and not set(pair) & set(by_kind) and reader.chance(0.7):
        group, phrases, key = pair, data["structure"]["pleura_both"], "pleura"
    elif kind == "Consolidation" and {*LUNG_KINDS, "Atelectasis"} & set(by_kind):
        phrases, key = [p for p in phrases if "clear" not in p], key + "partly"
    phrases = _unopposed(phrases, set(by_kind))
    template = reader.favourite(phrases, key, 0.95)
    denials = [Statement(k, 0) for k in group]
    draft.findings.append(_sentence(replace(draft, reader=reader), "findings", template, {}, 0, denials))
    denied.update(group)


def _resolved(draft: Draft, by_kind: dict[str, Finding]) -> None:
    now = {f.kind for f in draft.facts.findings} | set(by_kind)
    for finding in draft.facts.before:
        if finding.kind not in now and draft.reader.chance(0.4):
            slots = slots_of(finding, draft.reader)
            phrases = language()["findings"]["kinds"][finding.kind]["summary"]
            slots["summary"] = lambda p=phrases, k=finding.kind: draft.reader.favourite(p, k + "s")  # type: ignore[misc]
            template = draft.reader.favourite(language()["structure"]["resolved"], "resolved")
            statement = Statement(finding.kind, 0, finding.side, finding.zone, "", "resolved")
            draft.findings.append(_sentence(draft, "findings", template, slots, 0, [statement]))


def _conclude(draft: Draft) -> None:
    """Write the impression: the findings in short, or that there is nothing acute."""
    reader, structure = draft.reader, language()["structure"]
    stated = {s.meaning[0].split("|")[0]: s.meaning[0] for s in draft.findings if s.meaning}
    for finding in draft.mentioned:
        value = int(stated[finding.kind].split("|")[1])
        if finding.kind == "Support_Devices" or not reader.chance(0.70):
            continue
        template = reader.favourite(
            language()["findings"]["kinds"][finding.kind]["summary"], finding.kind + "s"
        )
        if value == -1:
            template = reader.favourite(language()["findings"]["words"]["hedge"], "hedge") + " " + template
        elif finding.status and draft.compared and reader.chance(0.5):
            template = ("new " if finding.status == "new" else "{change} ") + template
        statement = Statement(finding.kind, value, finding.side, finding.zone, finding.grade, finding.status)
        slots = slots_of(finding, reader)
        draft.impression.append(_sentence(draft, "impression", template + ".", slots, value, [statement]))
    if not draft.impression:
        phrases = structure["normal_impression"]
        phrases = phrases if draft.compared else [p for p in phrases if "hange" not in p and "table" not in p]
        if draft.mentioned:
            phrases = [p for p in phrases if "acute" in p]
        draft.impression.append(
            Sentence("impression", reader.say(reader.favourite(phrases, "none", 0.85)), [])
        )
    if reader.chance(0.22 if draft.mentioned else 0.03):
        advice = reader.favourite(structure["advice"], "advice", 0.4)
        draft.impression.append(Sentence("impression", reader.say(advice, _clock(reader)), []))


def _clock(reader: Reader) -> Slots:
    rng = reader.rng
    return {
        "time": lambda: f"{rng.integers(1, 13)}:{rng.integers(0, 60):02d} (a.m.|p.m.|AM|PM)",
        "n": lambda: str(rng.integers(2, 13)),
    }
