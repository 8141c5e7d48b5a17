"""Sentence splitting against the phantom's true boundaries: F1 and speed. Run: python benchmarks/sentences.py

Boundaries are the starts and ends of sentences in the whole report (so a section that is missed costs its
sentences); `exact span` asks for both at once. Speed is per second of CPU time on one core, sections
included, without and with a warm cache of repeated passages.
"""

import argparse
import time

from prior.phantom.hospital import generator, plan
from prior.phantom.report import Report, StudyFacts, compose
from prior.reports.boundaries import _block_spans
from prior.reports.sentences import split_report


def phantom_reports(count: int, seed: int) -> list[Report]:
    reports = []
    for study in plan("mimic_cxr", count, seed):
        facts = StudyFacts(study.findings, study.before, study.order, study.body.sex, study.body.age)
        reports.append(compose(facts, generator(seed, "mimic_cxr", 2, study.index)))
    return reports


def f1(found: list[set], true: list[set]) -> float:
    hits = sum(len(a & b) for a, b in zip(found, true, strict=True))
    return 2 * hits / (sum(map(len, found)) + sum(map(len, true)))


def compare(reports: list[Report]) -> dict[str, float]:
    found = [split_report(report.text) for report in reports]
    true = [report.sentences for report in reports]
    borders, spans = [], []
    for side in (found, true):
        borders.append([{(name, getattr(s, name)) for s in r for name in ("start", "end")} for r in side])
        spans.append([{(s.section, s.start, s.end) for s in r} for r in side])
    return {"boundary F1": f1(*borders), "exact span and section F1": f1(*spans)}


def show_errors(reports: list[Report], most: int) -> None:
    for report in reports:
        found = {(s.start, s.end) for s in split_report(report.text)}
        true = {(s.start, s.end) for s in report.sentences}
        if found != true and most > 0:
            most -= 1
            print("found", [report.text[start:end] for start, end in sorted(found - true)])
            print("true ", [report.text[start:end] for start, end in sorted(true - found)])


def speed(reports: list[Report]) -> float:
    start = time.process_time()
    for report in reports:
        split_report(report.text)
    return len(reports) / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--reports", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show-errors", type=int, default=0, help="print this many wrong splits")
    arguments = parser.parse_args()
    reports = phantom_reports(arguments.reports, arguments.seed)
    _block_spans.cache_clear()
    values = {"reports/s, cold": speed(reports), "reports/s, warm": speed(reports), **compare(reports)}
    print(f"{len(reports)} phantom reports, {sum(len(r.sentences) for r in reports)} sentences")
    for name, value in values.items():
        print(f"{name:28} {value:.5f}" if "F1" in name else f"{name:28} {value:.0f}")
    show_errors(reports, arguments.show_errors)


if __name__ == "__main__":
    main()
