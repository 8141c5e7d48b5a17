"""Sentence splitting against the phantom's true boundaries: F1 and speed. Run: python benchmarks/sentences.py

Boundaries are the starts and ends of sentences in the whole report (so a section that is missed costs its
sentences); `exact span` asks for both at once. Speed is per second of CPU time on one core, sections
included, without and with a warm cache of repeated passages.

`--stage` writes the reports ten times over into a prepared data set and runs the stage on a tenth and on all
of it, with one and with two processes: reports per second of wall time, and the peak memory of the main
process.

`--real FOLDER` (with FOLDER/open_i/NLMCXR_reports.tgz) compares with other splitters on 100 hand-marked
reports of Open-i instead: docs/sentences.md says how they were drawn and marked. A boundary is the first or
the last letter or digit of a sentence; list numbers at the start of a sentence and pieces without a letter or
digit are dropped from every splitter's answer, ours too.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pandas as pd

from prior.datasets.open_i import read_open_i
from prior.phantom.hospital import generator, plan
from prior.phantom.report import Report, StudyFacts, compose
from prior.reports.boundaries import _block_spans, sentence_spans
from prior.reports.sentences import split_report

STAGE = """
import re, sys, time
from pathlib import Path
from prior.reports.sentences import split_sentences_stage
folder, workers, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
start = time.monotonic()
split_sentences_stage(folder, workers)
seconds = time.monotonic() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) // 1024
print(f"{count} reports, {workers} processes: {count / seconds:.0f} a second, peak {peak} MB", flush=True)
"""
Spans = Iterable[tuple[int, int]]
MARKED = Path(__file__).parents[1] / "tests" / "reports" / "open_i_boundaries.json"
ITEM = re.compile(r"\s*\(?\d{1,2}[.)](?!\d)")
WORD = re.compile(r"[A-Za-z0-9]")


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


def boundaries(text: str, spans: Spans) -> set[tuple[str, int]]:
    """Return the first and the last letter or digit of every span, list numbers left out."""
    found = set()
    for start, end in spans:
        item = ITEM.match(text, start, end)
        words = [match.start() for match in WORD.finditer(text, item.end() if item else start, end)]
        if words:
            found |= {("start", words[0]), ("end", words[-1])}
    return found


def located(text: str, pieces: Iterable[str]) -> Spans:
    at = 0
    for piece in (piece.strip() for piece in pieces):
        start = text.index(piece, at)
        at = start + len(piece)
        yield start, at


def _pysbd(library: Any) -> Callable[[str], Spans]:
    segmenter = library.Segmenter(language="en", clean=False, char_span=True)
    return lambda text: [(span.start, span.end) for span in segmenter.segment(text)]


def _spacy(library: Any) -> Callable[[str], Spans]:
    pipeline = library.blank("en")
    pipeline.add_pipe("sentencizer")
    return lambda text: [(span.start_char, span.end_char) for span in pipeline(text).sents]


def _syntok(library: Any) -> Callable[[str], Spans]:
    def split(text: str) -> Spans:
        for tokens in (list(tokens) for paragraph in library.analyze(text) for tokens in paragraph):
            yield tokens[0].offset, tokens[-1].offset + len(tokens[-1].value)

    return split


def _sentence_splitter(library: Any) -> Callable[[str], Spans]:
    splitter = library.SentenceSplitter(language="en")
    return lambda text: located(text, splitter.split(text))


OTHERS: dict[str, tuple[str, Callable[[Any], Callable[[str], Spans]]]] = {
    "pysbd": ("pysbd", _pysbd),
    "spacy": ("spacy", _spacy),
    "syntok": ("syntok.segmenter", _syntok),
    "blingfire": ("blingfire", lambda library: lambda t: library.text_to_sentences_and_offsets(t)[1]),
    "nltk": ("nltk.tokenize.punkt", lambda library: library.PunktSentenceTokenizer().span_tokenize),
    "sentence-splitter": ("sentence_splitter", _sentence_splitter),
}


def splitters() -> dict[str, Callable[[str], Spans]]:
    """Return our splitter and those of the other libraries that are installed, by name and version."""
    found: dict[str, Callable[[str], Spans]] = {"prior": sentence_spans}
    for name, (module, make) in OTHERS.items():
        try:
            found[f"{name} {metadata.version(name)}"] = make(import_module(module))
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def compare_real(root: Path, most: int) -> None:
    marked = json.loads(MARKED.read_text())
    reports = read_open_i(root).set_index("uid").loc[list(marked)]
    passages = [
        (reports.loc[uid, section], spans) for uid, body in marked.items() for section, spans in body.items()
    ]
    true = [boundaries(text, spans) for text, spans in passages]
    print(f"{len(marked)} reports, {sum(len(spans) for _, spans in passages)} sentences")
    for name, split in splitters().items():
        start = time.process_time()
        found = [boundaries(text, list(split(text))) for text, _ in passages]
        seconds = time.process_time() - start
        wrong = [i for i, (a, b) in enumerate(zip(found, true, strict=True)) if a != b]
        print(
            f"{name:28} boundary F1 {f1(found, true):.4f}  passages that differ {len(wrong)}  "
            f"{len(marked) / seconds:.0f} reports/s"
        )
        for i in wrong[:most]:
            print("   ", [passages[i][0][max(0, at - 20) : at + 20] for _, at in sorted(found[i] ^ true[i])])


def stage(reports: list[Report]) -> None:
    """Run the stage in a process of its own for each size, so that peaks of memory do not mix."""
    texts = [report.text for report in reports]
    with tempfile.TemporaryDirectory() as folder:
        digests = set()
        for times, workers in ((1, 1), (10, 1), (1, 2), (10, 2)):
            ids = [f"s{i:07d}" for i in range(times * len(texts))]
            table = pd.DataFrame({"study_id": ids, "patient_id": ids, "text": texts * times})
            table.assign(findings="", impression="").to_parquet(Path(folder) / "reports.parquet")
            subprocess.run([sys.executable, "-c", STAGE, folder, str(workers), str(len(ids))], check=True)
            digests.add((times, sha256((Path(folder) / "sentences.parquet").read_bytes()).hexdigest()))
        print("equal files for one and two processes:", len(digests) == 2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--reports", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show-errors", type=int, default=0, help="print this many wrong splits")
    parser.add_argument("--stage", action="store_true", help="time the stage and its memory")
    parser.add_argument("--real", type=Path, help="folder with open_i/NLMCXR_reports.tgz")
    arguments = parser.parse_args()
    if arguments.real is not None:
        compare_real(arguments.real, arguments.show_errors)
        return
    reports = phantom_reports(arguments.reports, arguments.seed)
    if arguments.stage:
        stage(reports)
        return
    _block_spans.cache_clear()
    values = {"reports/s, cold": speed(reports), "reports/s, warm": speed(reports), **compare(reports)}
    print(f"{len(reports)} phantom reports, {sum(len(r.sentences) for r in reports)} sentences")
    for name, value in values.items():
        print(f"{name:28} {value:.5f}" if "F1" in name else f"{name:28} {value:.0f}")
    show_errors(reports, arguments.show_errors)


if __name__ == "__main__":
    main()
