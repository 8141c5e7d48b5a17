"""Entry point: write one dataset of the simulated hospital in its real raw format."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from pycocotools import mask as coco

from prior.data.files import atomic_path, write_json
from prior.errors import InputError
from prior.phantom.film import Film, take_film
from prior.phantom.hospital import CODES, Study, generator, plan
from prior.phantom.radiograph import SCANNERS
from prior.phantom.report import Report, StudyFacts, compose

CHUNK = 32
Rows = dict[str, list[dict[str, Any]]]


def simulate(
    dataset: str, out: Path, patients_or_images: int, seed: int, image_size: int, workers: int
) -> None:
    """Write a simulated raw dataset.

    The result does not depend on `workers`: every study has its own random stream.

    Args:
        dataset: mimic_cxr, chexpert, rsna, siim or object_cxr.
        out: raw folder to fill; truth that real data lacks goes beside it, to `<dataset>_truth`.
        patients_or_images: number of frontal images (for mimic_cxr also of studies and reports).
        seed: equal seeds give equal files.
        image_size: pixels on a side of the raw images.
        workers: processes.

    Raises:
        InputError: an unknown dataset or a number out of range.
    """
    _check(dataset, patients_or_images, image_size, workers)
    writer = import_module(f"prior.phantom.writers.{dataset}")
    out.mkdir(parents=True, exist_ok=True)
    studies = list(plan(dataset, patients_or_images, seed))
    chunks = [studies[i : i + CHUNK] for i in range(0, len(studies), CHUNK)]
    work = partial(_make, dataset, out, seed, image_size)
    tables: Rows = {}
    for rows in _map(work, chunks, workers):
        for name, found in rows.items():
            tables.setdefault(name, []).extend(found)
    truth = out.parent / f"{dataset}_truth"
    for name in ("truth_findings", "truth_sentences"):
        frame = pd.DataFrame(tables.pop(name, []))
        with atomic_path(truth / f"{name.removeprefix('truth_')}.parquet") as path:
            frame.to_parquet(path, index=False)
    writer.write_tables(out, tables, seed)
    counts = {"images": len(studies), "patients": len({s.patient for s in studies})}
    write_json(
        out / "simulation.json",
        {"simulated": True, "dataset": dataset, "seed": seed, "image_size": image_size, "counts": counts},
    )


def _check(dataset: str, count: int, size: int, workers: int) -> None:
    if dataset not in CODES:
        raise InputError(f"phantom: unknown dataset '{dataset}'; choose one of {', '.join(CODES)}")
    for name, value, least in (
        ("number of images", count, 1),
        ("image_size", size, 64),
        ("workers", workers, 1),
    ):
        if value < least:
            raise InputError(f"phantom, {dataset}: {name} is {value}; give at least {least}")


def _map(work: Callable[[list[Study]], Rows], chunks: list[list[Study]], workers: int) -> Any:
    if workers == 1 or len(chunks) == 1:
        yield from map(work, chunks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, chunks)


def _make(dataset: str, out: Path, seed: int, size: int, studies: list[Study]) -> Rows:
    """Render, dictate and write a run of studies; return table rows."""
    writer = import_module(f"prior.phantom.writers.{dataset}")
    rows: Rows = {}
    for study in studies:
        rng = generator(seed, dataset, 1, study.index)
        foreign = int(rng.integers(1, 4)) if dataset == "object_cxr" and rng.random() < 0.5 else 0
        film = take_film(study.body, study.pose, study.findings, SCANNERS[dataset], size, rng, foreign)
        facts = StudyFacts(study.findings, study.before, study.order, study.body.sex, study.body.age)
        report = compose(facts, generator(seed, dataset, 2, study.index)) if dataset == "mimic_cxr" else None
        image_id, study_id, tables = writer.write_study(out, study, film, report, seed)
        for name, found in tables.items():
            rows.setdefault(name, []).extend(found)
        rows.setdefault("truth_findings", []).extend(_finding_rows(image_id, study_id, study, film, report))
        rows.setdefault("truth_sentences", []).extend(_sentence_rows(study_id, report))
    return rows


def _finding_rows(
    image_id: str, study_id: str, study: Study, film: Film, report: Report | None
) -> list[dict[str, Any]]:
    told = {f.kind for f in report.mentioned} if report else set()
    rows = []
    for finding in study.findings:
        for region in [r for r in film.regions if r.label == finding.kind]:
            encoded = coco.encode(region.mask.astype("uint8", order="F"))
            x, y, w, h = coco.toBbox(encoded).tolist()
            rows.append(
                {
                    "image_id": image_id,
                    "study_id": study_id,
                    "patient": study.patient,
                    "finding": finding.kind,
                    "side": region.side,
                    "zone": finding.zone,
                    "severity": finding.severity,
                    "status": finding.status,
                    "variant": finding.variant,
                    "mentioned": finding.kind in told,
                    "x_min": x,
                    "y_min": y,
                    "x_max": x + w,
                    "y_max": y + h,
                    "rle": encoded["counts"].decode(),
                    "height": region.mask.shape[0],
                    "width": region.mask.shape[1],
                }
            )
    return rows


def _sentence_rows(study_id: str, report: Report | None) -> list[dict[str, Any]]:
    if report is None:
        return []
    return [
        {
            "study_id": study_id,
            "position": i,
            "section": s.section,
            "start": s.start,
            "end": s.end,
            "sentence": s.text,
            "meaning": ";".join(s.meaning),
        }
        for i, s in enumerate(report.sentences)
    ]
