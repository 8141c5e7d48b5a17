import re
from collections import Counter

import numpy as np
import pytest

from prior.phantom.findings import Finding
from prior.phantom.grammar import compile_template, expand, language
from prior.phantom.hospital import generator, plan
from prior.phantom.report import Report, StudyFacts, compose

SLOTS = (
    "side zone lobe atlobe atbase sev sevly sev2 change since mm cm cm2 ctr rib device tip summary "
    "pleural height symptom history question surgery n time"
)


def reports(count: int) -> list[tuple[StudyFacts, Report]]:
    pairs = []
    for study in plan("mimic_cxr", count, seed=1):
        facts = StudyFacts(study.findings, study.before, study.order, study.body.sex, study.body.age)
        pairs.append((facts, compose(facts, generator(1, "mimic_cxr", 2, study.index))))
    return pairs


@pytest.fixture(scope="module")
def corpus() -> list[tuple[StudyFacts, Report]]:
    return reports(1500)


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9 ]+", "", text.lower()).strip()


def test_every_template_parses_and_says_something() -> None:
    data = language()
    slots = {name: (lambda: "x") for name in SLOTS.split()}
    templates = list(data["incidental"])
    for group in data["findings"]["kinds"].values():
        templates += [t for form in group.values() for t in form]
    for key in (
        "opening",
        "mediastinum",
        "pleura_both",
        "lungs_all",
        "normal_impression",
        "resolved",
        "advice",
    ):
        templates += data["structure"][key]
    for template in templates:
        for choice in (0, -1):
            text = expand(template, slots, lambda n, choice=choice: choice % n)
            assert text
            assert "(" not in text
            assert "{" not in text


def test_unbalanced_template_is_refused() -> None:
    with pytest.raises(ValueError, match="bracket"):
        compile_template("no (effusion|pneumothorax")


def test_offsets_point_at_the_sentences(corpus: list[tuple[StudyFacts, Report]]) -> None:
    for _, report in corpus[:300]:
        ends = 0
        for sentence in report.sentences:
            assert sentence.start >= ends
            assert re.sub(r"\s+", " ", report.text[sentence.start : sentence.end]) == sentence.text
            ends = sentence.end


def test_reports_have_the_headers_of_mimic(corpus: list[tuple[StudyFacts, Report]]) -> None:
    for _, report in corpus[:100]:
        assert " EXAMINATION: " in report.text
        assert " INDICATION: " in report.text
        assert " COMPARISON: " in report.text
        assert " FINDINGS:" in report.text or " IMPRESSION:" in report.text


def test_what_naive_splitters_stumble_on_is_there(corpus: list[tuple[StudyFacts, Report]]) -> None:
    text = "\n".join(report.text for _, report in corpus)
    for pattern in (r"Dr\. ___", r"\d\.\d (cm|x)", r"\d:\d\d (a\.m\.|p\.m\.)", r"\n +2\. ", r"[a-z]\n [a-z]"):
        assert re.search(pattern, text), pattern


def test_omission_and_false_mention(corpus: list[tuple[StudyFacts, Report]]) -> None:
    true = sum(len(f.findings) for f, _ in corpus)
    omitted = sum(f not in r.mentioned for facts, r in corpus for f in facts.findings)
    false = sum(f not in facts.findings for facts, r in corpus for f in r.mentioned)
    assert 0.12 < omitted / true < 0.18
    assert 0.01 < false / len(corpus) < 0.05


def test_labels_follow_the_report_not_the_film(corpus: list[tuple[StudyFacts, Report]]) -> None:
    for _, report in corpus:
        told = {f.kind for f in report.mentioned}
        # A sentence on pneumonia may call it an opacity, one on the heart may name the mediastinum.
        stated = {k for k, v in report.labels.items() if v != 0}
        assert told <= stated <= told | {"Lung_Opacity", "Enlarged_Cardiomediastinum"}
        assert all(v in (-1, 0, 1) for v in report.labels.values())


def test_side_and_course_reach_the_words() -> None:
    old = Finding("Pleural_Effusion", "left", "", 0.8, "", "", 3)
    new = Finding("Pleural_Effusion", "left", "", 0.4, "improved", "", 3)
    hits = 0
    for seed in range(40):
        report = compose(StudyFacts([new], [old], 1, "M", 60), np.random.default_rng(seed))
        about = [
            s.text for s in report.sentences if any(c.startswith("Pleural_Effusion|1") for c in s.meaning)
        ]
        hits += any("left" in t.lower() for t in about)
        assert not any("right" in t.lower() for t in about)
    assert hits > 25


# Findings and impressions of 3,419 Open-i reports, measured by `benchmarks/phantom.py --real <folder>`.
OPEN_I = {
    "sentences per report": 6.044, "distinct": 0.3655, "once": 0.3021, "top 10": 0.1092, "top 100": 0.3727,
    "top 512": 0.6032, "duplicates": 0.2512, "hedged": 0.0942, "compared": 0.2907, "vocabulary": 1850,
}  # fmt: skip
HEDGED = r"\b(may|might|could|possibl[ey]|probabl[ey]|likely|suspected|questionable|cannot exclude)\b"
COMPARED = r"\b(stable|unchanged|interval|previous|prior|compar\w+|improved|worsened|increased|decreased)\b"


def test_language_of_as_many_reports_lies_within_a_quarter_of_open_i() -> None:
    made = [[s.text.lower() for s in report.sentences] for _, report in reports(3419)]
    sentences = Counter(text for report in made for text in report)
    total, ranked = sentences.total(), [n for _, n in sentences.most_common()]
    whole = Counter(map(tuple, made))
    joined = [" ".join(report) for report in made]
    found = {
        "sentences per report": total / len(made),
        "distinct": len(sentences) / total,
        "once": sum(n == 1 for n in ranked) / total,
        **{f"top {k}": sum(ranked[:k]) / total for k in (10, 100, 512)},
        "duplicates": sum(n for n in whole.values() if n > 1) / len(made),
        "hedged": np.mean([bool(re.search(HEDGED, text)) for text in joined]),
        "compared": np.mean([bool(re.search(COMPARED, text)) for text in joined]),
        "vocabulary": len({word for text in joined for word in re.findall(r"[a-z]+", text)}),
    }
    for name, value in found.items():
        assert 0.75 <= value / OPEN_I[name] <= 1.25, (name, value)
    assert found["top 512"] <= 0.70
