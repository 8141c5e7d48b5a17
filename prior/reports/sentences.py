"""Sentences of reports, with their character offsets, and the stage that writes the sentence table."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from prior.data.files import atomic_path
from prior.errors import InputError
from prior.reports.boundaries import sentence_spans
from prior.reports.sections import split_sections

_CHUNK = 4096
_SCHEMA = pa.schema(
    [
        ("study_id", pa.string()),
        ("position", pa.int64()),
        ("section", pa.string()),
        ("sentence", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Sentence:
    """One sentence: `text` (white space collapsed) stands at `report[start:end]` in `section`."""

    section: str
    text: str
    start: int
    end: int


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Return the character spans of the sentences of a passage (see `boundaries.sentence_spans`)."""
    return sentence_spans(text)


def split_report(report: str) -> list[Sentence]:
    """Split the findings and the impression of a whole report into sentences, in order of the text."""
    sentences = []
    for span in split_sections(report).spans:
        for start, end in sentence_spans(report[span.start : span.end]):
            words = " ".join(report[span.start + start : span.start + end].split())
            sentences.append(Sentence(span.section, words, span.start + start, span.start + end))
    return sentences


def split_sentences_stage(prepared: Path, workers: int = 1) -> None:
    """Read `reports.parquet` of a prepared dataset and write its `sentences.parquet`.

    Works in chunks of reports of which few are held at a time, so memory does not grow with the corpus. The
    file does not depend on the number of processes.

    Args:
        prepared: Folder of a prepared dataset.
        workers: processes; 1 runs here.

    Raises:
        InputError: `reports.parquet` is missing or lacks a column.
    """
    source = prepared / "reports.parquet"
    if not source.is_file():
        raise InputError(f"{source} does not exist; prepare a dataset with reports first.")
    reports = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)  # else the file is held
    missing = {"study_id", "text"} - set(reports.schema_arrow.names)
    if missing:
        raise InputError(f"{source} lacks the column(s) {', '.join(sorted(missing))}; prepare it again.")
    chunks = reports.iter_batches(_CHUNK, columns=["study_id", "text"])
    needed = min(workers, -(-reports.metadata.num_rows // _CHUNK))
    with (
        atomic_path(prepared / "sentences.parquet") as path,
        pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer,
    ):
        for table in map(_table, chunks) if needed <= 1 else _in_processes(chunks, needed):
            writer.write_table(table)


def _in_processes(chunks: Iterator[pa.RecordBatch], workers: int) -> Iterator[pa.Table]:
    """Yield the sentences of each chunk in order; at most two chunks a process are under way."""
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        waiting: deque[Future[pa.Table]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(_table, chunk))
            if len(waiting) == 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _table(chunk: pa.RecordBatch) -> pa.Table:
    rows = _rows(chunk.column("study_id").to_pylist(), chunk.column("text").to_pylist())
    return pa.Table.from_pylist(list(rows), schema=_SCHEMA)


def _rows(study_ids: list[str], texts: list[str | None]) -> Iterator[dict[str, str | int]]:
    for study_id, text in zip(study_ids, texts, strict=True):
        for position, sentence in enumerate(split_report(text or "")):
            yield {
                "study_id": study_id,
                "position": position,
                "section": sentence.section,
                "sentence": sentence.text,
                "start": sentence.start,
                "end": sentence.end,
            }
