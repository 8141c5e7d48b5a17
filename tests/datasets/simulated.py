"""Simulated raw trees, the truth behind them, and what a reader says when one is broken."""

from pathlib import Path

import pytest

from prior.data.prepare import prepare
from prior.errors import InputError
from prior.phantom.film import take_film
from prior.phantom.hospital import generator, plan
from prior.phantom.radiograph import SCANNERS
from prior.phantom.report import StudyFacts, compose


def cases(hospital, count, seed, size):
    """Yield (study, film, report) of a hospital, independently of any writer."""
    for study in plan(hospital, count, seed):
        rng = generator(seed, hospital, 1, study.index)
        film = take_film(study.body, study.pose, study.findings, SCANNERS[hospital], size, rng)
        facts = StudyFacts(study.findings, study.before, study.order, study.body.sex, study.body.age)
        yield study, film, compose(facts, generator(seed, hospital, 2, study.index))


def refusal(reader: str, root: Path, out: Path) -> str:
    """Return the message with which `prepare` refuses a raw folder; nothing may have been written."""
    with pytest.raises(InputError) as caught:
        prepare(reader, root, out, 16)
    assert not out.exists() or not any(out.iterdir())
    return str(caught.value).replace(str(root), "ROOT")


def rewrite(path: Path, old: str, new: str) -> None:
    """Replace the first `old` of a text file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
