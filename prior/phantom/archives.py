"""Raw trees of further data sets: patients and films of one of the hospitals in another format.

A writer of `SIMULATORS` names the hospital whose case mix and scanner it shows (`HOSPITAL`), what it adds to
the seed (`STREAM`), and whether its studies have reports (`REPORTS`). With stream 0 its films are those of
that hospital, as RSNA's are films of NIH: patients who are trained on in one data set and tested on in the
other can be found.
"""

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from prior.data.files import atomic_path, write_json
from prior.errors import InputError
from prior.phantom.film import take_film
from prior.phantom.hospital import Study, generator, plan
from prior.phantom.radiograph import SCANNERS
from prior.phantom.report import StudyFacts, compose
from prior.phantom.simulate import CHUNK, _check, _finding_rows, _map
from prior.phantom.writers import SIMULATORS

Rows = dict[str, list[dict[str, Any]]]


def simulate_archive(dataset: str, out: Path, count: int, seed: int, image_size: int, workers: int) -> None:
    """Write a simulated raw data set of `SIMULATORS`; the result does not depend on `workers`.

    Args:
        dataset: key of SIMULATORS.
        out: raw folder to fill; the true findings go beside it, to `<dataset>_truth`.
        count: number of frontal images.
        seed: equal seeds give equal files.
        image_size: pixels on a side of the raw images.
        workers: processes.

    Raises:
        InputError: an unknown data set or a number out of range.
    """
    if dataset not in SIMULATORS:
        raise InputError(f"phantom: unknown dataset '{dataset}'; choose one of {', '.join(SIMULATORS)}")
    writer = import_module(SIMULATORS[dataset])
    _check(writer.HOSPITAL, count, image_size, workers)
    out.mkdir(parents=True, exist_ok=True)
    studies = list(plan(writer.HOSPITAL, count, seed + writer.STREAM))
    chunks = [studies[start : start + CHUNK] for start in range(0, len(studies), CHUNK)]
    tables: Rows = {}
    for rows in _map(partial(_make, dataset, out, seed, image_size), chunks, workers):
        for name, found in rows.items():
            tables.setdefault(name, []).extend(found)
    with atomic_path(out.parent / f"{dataset}_truth" / "findings.parquet") as path:
        pd.DataFrame(tables.pop("truth_findings", [])).to_parquet(path, index=False)
    writer.write_tables(out, tables, seed, **_layout(dataset))
    counts = {"images": len(studies), "patients": len({study.patient for study in studies})}
    write_json(
        out / "simulation.json",
        {"simulated": True, "dataset": dataset, "seed": seed, "image_size": image_size, "counts": counts},
    )


def _make(dataset: str, out: Path, seed: int, size: int, studies: Sequence[Study]) -> Rows:
    """Render, dictate where the data set has reports, and write a run of studies; return table rows."""
    writer = import_module(SIMULATORS[dataset])
    hospital, stream = writer.HOSPITAL, seed + writer.STREAM
    rows: Rows = {}
    for study in studies:
        rng = generator(stream, hospital, 1, study.index)
        film = take_film(study.body, study.pose, study.findings, SCANNERS[hospital], size, rng)
        facts = StudyFacts(study.findings, study.before, study.order, study.body.sex, study.body.age)
        report = compose(facts, generator(stream, hospital, 2, study.index)) if writer.REPORTS else None
        image_id, study_id, tables = writer.write_study(out, study, film, report, seed, **_layout(dataset))
        tables = {**tables, "truth_findings": _finding_rows(image_id, study_id, study, film, report)}
        for name, found in tables.items():
            rows.setdefault(name, []).extend(found)
    return rows


def _layout(dataset: str) -> dict[str, str]:
    _, colon, layout = dataset.partition(":")
    return {"layout": layout} if colon else {}
