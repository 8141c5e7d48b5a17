"""The rule labeller against the phantom's known meanings: F1 per finding. Run: python benchmarks/labeller.py

`sentences` labels each sentence alone and leaves out those that carry no meaning; `reports` labels findings
and impression as plain words, the form that clinical F1 compares, and holds it against the labels of the
whole report. Sentences that the phantom says in passing have no meaning in its truth, though some name a
finding or a device (old fractures, clips, tubes): they cost precision in `reports` and do not enter
`sentences`. A sentence may speak of two kinds at once: an opacity that is a pneumonia is both.

`--real FOLDER` (with FOLDER/open_i/NLMCXR_reports.tgz) holds the labeller against the subject headings that
indexers gave the Open-i reports instead, for the findings that both know. Headings are a coarser truth than a
reading of the text: an indexer may leave out what a report only suspects.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from prior.datasets.open_i import NORMAL, read_open_i
from prior.phantom.findings import KINDS
from prior.phantom.hospital import generator, plan
from prior.phantom.report import Report, StudyFacts, compose
from prior.reports.labeller import NO_FINDING, SUPPORT, label_report, label_sentence
from prior.reports.plain import plain_text
from prior.reports.sections import split_sections

RANK = {1: 2, -1: 1, 0: 0}
WORDS = {1: "present", -1: "uncertain", 0: "absent"}
Labels = dict[str, int]
HEADINGS = {
    "Cardiomegaly": ["Cardiomegaly"],
    "Lung_Lesion": ["Nodule", "Mass"],
    "Edema": ["Edema"],
    "Consolidation": ["Consolidation"],
    "Pneumonia": ["Pneumonia"],
    "Atelectasis": ["Atelectasis"],
    "Pneumothorax": ["Pneumothorax"],
    "Pleural_Effusion": ["Effusion"],
    "Pleural_Other": ["Pleural_Thickening"],
    NO_FINDING: [NORMAL],
}


def phantom_reports(count: int, seed: int) -> list[Report]:
    reports = []
    for study in plan("mimic_cxr", count, seed):
        facts = StudyFacts(study.findings, study.before, study.order, study.body.sex, study.body.age)
        reports.append(compose(facts, generator(seed, "mimic_cxr", 2, study.index)))
    return reports


def meaning(codes: Iterable[str]) -> Labels:
    labels: Labels = {}
    for code in codes:
        kind, value = code.split("|")[0], int(code.split("|")[1])
        if kind not in labels or RANK[value] > RANK[labels[kind]]:
            labels[kind] = value
    return labels


def without_rest(labels: Labels) -> Labels:
    return {finding: value for finding, value in labels.items() if finding in KINDS}


def plain(report: Report) -> str:
    sections = split_sections(report.text)
    return plain_text(sections.findings, sections.impression)


def f1(found: list[Labels], true: list[Labels], finding: str, values: set[int]) -> tuple[float, int]:
    a = [labels.get(finding) in values for labels in found]
    b = [labels.get(finding) in values for labels in true]
    hits = sum(x and y for x, y in zip(a, b, strict=True))
    return (2 * hits / (sum(a) + sum(b)) if sum(a) + sum(b) else float("nan")), sum(b)


def table(found: list[Labels], true: list[Labels], findings: Iterable[str]) -> pd.DataFrame:
    columns = [*(({value}, word) for value, word in WORDS.items()), ({1, -1}, "present or uncertain")]
    rows = []
    for finding in findings:
        row: dict[str, object] = {"finding": finding}
        for values, word in columns:
            value, count = f1(found, true, finding, values)
            row |= {word: f"{value:.3f}", f"n {word}": str(count)}
        rows.append(row)
    frame = pd.DataFrame(rows)
    means = {word: f"{frame[word].astype(float).mean():.3f}" for _, word in columns}
    return pd.concat([frame, pd.DataFrame([{"finding": "macro", **means}])], ignore_index=True).fillna("")


def no_finding(labels: Labels) -> Labels:
    abnormal = any(value != 0 for finding, value in labels.items() if finding != SUPPORT)
    return labels if abnormal else {**labels, NO_FINDING: 1}


def show_errors(texts: list[str], found: list[Labels], true: list[Labels], most: int) -> None:
    wrong = [i for i, (a, b) in enumerate(zip(found, true, strict=True)) if a != b]
    print(f"{len(wrong)} of {len(texts)} differ")
    for i in wrong[:most]:
        print(texts[i], {k: (true[i].get(k), found[i].get(k)) for k in {*true[i], *found[i]}})


def compare_real(root: Path) -> None:
    reports = read_open_i(root)
    both = zip(reports["findings"], reports["impression"], strict=True)
    found = [label_report(plain_text(*passages)) for passages in both]
    rows = []
    for finding, headings in HEADINGS.items():
        true = reports[headings].any(axis=1).tolist()
        row: dict[str, object] = {"finding": finding, "headings": sum(true)}
        for word, values in (("present", {1}), ("present or uncertain", {1, -1})):
            read = [labels.get(finding) in values for labels in found]
            hits = sum(a and b for a, b in zip(read, true, strict=True))
            scores = (hits / max(sum(read), 1), hits / max(sum(true), 1), 2 * hits / (sum(read) + sum(true)))
            row[f"{word}: precision, recall, F1"] = ", ".join(f"{score:.3f}" for score in scores)
        rows.append(row)
    print(f"{len(reports)} reports\n{pd.DataFrame(rows).to_string(index=False)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--reports", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show-errors", type=int, default=0, help="print so many wrong sentences")
    parser.add_argument("--real", type=Path, help="folder with open_i/NLMCXR_reports.tgz")
    arguments = parser.parse_args()
    if arguments.real is not None:
        compare_real(arguments.real)
        return
    reports = phantom_reports(arguments.reports, arguments.seed)
    told = [s for report in reports for s in report.sentences if s.meaning]
    texts = [s.text for s in told]
    found, true = [without_rest(label_report(t)) for t in texts], [meaning(s.meaning) for s in told]
    print(f"{len(told)} sentences with a meaning\n{table(found, true, KINDS).to_string(index=False)}\n")
    if arguments.show_errors:
        show_errors(texts, found, true, arguments.show_errors)
    texts = [plain(report) for report in reports]
    label_sentence.cache_clear()
    start = time.process_time()
    labelled = [label_report(text) for text in texts]
    speed = len(texts) / (time.process_time() - start)
    kinds = [*KINDS, NO_FINDING]
    true = [no_finding(report.labels) for report in reports]
    print(f"{len(reports)} reports as plain words, {speed:.0f} a second and core")
    print(table(labelled, true, kinds).to_string(index=False))


if __name__ == "__main__":
    main()
