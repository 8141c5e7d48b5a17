"""Damaged bytes in the tables of a raw tree end in one error, never in a traceback."""

import contextlib
import random
import shutil
from pathlib import Path

import pytest

from prior.datasets import load_reader
from prior.errors import InputError
from tests.datasets.archives import archive

TABLES = (".csv", ".txt", ".json", ".xml")
PIECES = (b",", b'"', b"\n", b"\x00", b"-1", b"nan", b"inf", b"1e999", b"../", b"\xff", b"null", b"[]")
CASES = {
    "nih_chestxray14": "",
    "folder": "",
    "vindr_cxr": "",
    "covidx": "",
    "tbx11k": "",
    "tbx11k without json": "TBX11K/annotations/json",
    "covid_rural": "",
}


def damage(content: bytes, rng: random.Random) -> bytes:
    """Change, remove, insert or cut off a few bytes."""
    changed = bytearray(content)
    kind = rng.randrange(4)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = rng.randrange(len(changed) or 1)
        if kind == 0 and changed:
            changed[at] = rng.randrange(256)
        elif kind == 1:
            del changed[at : at + rng.choice((1, 5, 50))]
        elif kind == 2:
            changed[at:at] = rng.choice(PIECES)
        else:
            del changed[at:]
    return bytes(changed)


@pytest.mark.parametrize("case", CASES)
def test_damaged_tables_are_read_or_refused(case: str, tmp_path: Path) -> None:
    name = case.split()[0]
    root = archive(name, tmp_path)
    if CASES[case]:
        shutil.rmtree(root / CASES[case])
    files = [path for path in sorted(root.rglob("*")) if path.suffix in TABLES]
    rng = random.Random(0)
    for _ in range(12):
        path = rng.choice(files)
        content = path.read_bytes()
        path.write_bytes(damage(content, rng))
        with contextlib.suppress(InputError):
            load_reader(name).read(root)
        path.write_bytes(content)
