"""Bytes of raw trees are changed at random: whatever comes, the caller sees an InputError or a result."""

import gzip
import random
import shutil
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from prior.data.prepare import prepare
from prior.datasets import load_reader
from prior.errors import InputError
from prior.phantom.archives import simulate_archive
from prior.phantom.simulate import simulate
from prior.phantom.writers import SIMULATORS

ROUNDS, WHOLE = 8, 4  # damaged trees of a reader; every fourth is also decoded, split and written
LONGEST = (
    10.0  # seconds of computing that one damaged tree may take; a whole one takes a fraction of a second
)
TABLES = (".csv", ".gz", ".json", ".xml", ".txt")
HOSPITAL = ("mimic_cxr", "chexpert", "rsna", "siim", "object_cxr")
READERS = {
    **{name: (name, ".") for name in (*HOSPITAL, "ms_cxr", "chexpert_plus", "mimic_cxr_dicom")},
    **{f"iu_xray {layout}": ("iu_xray", layout) for layout in ("open_i", ".", "r2gen")},
    **{name: (name, ".") for name in ("chestx_det_release", "kermany_release")},
    "chexpert_5x200_gloria": ("chexpert", "."),
    "chexpert_5x200_mgca": ("chexpert", "."),
    "chexpert_5x200_prior": ("chexpert", "."),
}
SNIPPETS = (
    b"\x00", b"\xff\xfe", b'"', b"\n", b",,,,", b"-1", b"1e400", b"nan", b"../../", b"/etc/passwd", b"\xe9",
    b"9" * 100, b"[" * 3000, b"<a>", b"&x;", b"]]>", b"'", b";", b"{}", b"null", b"A" * 150,
)  # fmt: skip
"""A few kinds of damage that single bytes rarely make."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Make each tree on demand, once."""
    made: dict[str, Path] = {}
    base = tmp_path_factory.mktemp("raw")

    def tree(dataset):
        if dataset not in made:
            made[dataset] = base / dataset
            run = simulate_archive if dataset in SIMULATORS else simulate
            run(dataset, made[dataset], 8, 1, 64, 1)
        return made[dataset]

    return tree


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Flip bytes, cut, repeat or insert."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(4)
        if kind == 0 and at < len(out):
            out[at] = rng.randrange(256)
        elif kind == 1:
            out[at:at] = rng.choice(SNIPPETS)
        elif kind == 2:
            del out[at : at + rng.choice((1, 8, len(out)))]
        else:
            out[at:at] = out[at : at + 64]
    return bytes(out)


def damage(path: Path, rng: random.Random) -> None:
    """Damage a file; of a compressed table what is inside."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(damaged(gzip.decompress(data), rng), mtime=0))
    else:
        path.write_bytes(damaged(data, rng))


@pytest.mark.parametrize("name", READERS)
def test_damage_is_an_input_error_or_no_matter(name, raw, tmp_path):
    rng = random.Random(name)
    dataset, folder = READERS[name]
    reader = name.split(" ")[0]
    for round_ in range(ROUNDS):
        root = Path(shutil.copytree(raw(dataset), tmp_path / f"raw{round_}"))
        files = sorted(path for path in root.rglob("*") if path.is_file())
        tables = [path for path in files if path.suffix in TABLES and path.name != "simulation.json"]
        for path in rng.sample(tables or files, 1) + rng.sample(files, 2):
            damage(path, rng)
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(InputError):
                if round_ % WHOLE:
                    load_reader(reader).read(root / folder)
                else:
                    prepare(reader, root / folder, tmp_path / "out", 16, max_unreadable=8)
        assert time.process_time() - start < LONGEST
        shutil.rmtree(root)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)


@pytest.mark.parametrize("kind", ["truncated gzip", "name too long"])
def test_damage_that_only_the_shared_checks_meet(kind, raw, tmp_path):
    root = Path(shutil.copytree(raw("mimic_cxr"), tmp_path / "raw"))
    path = root / "mimic-cxr-2.0.0-metadata.csv.gz"
    data = path.read_bytes()
    if kind == "truncated gzip":
        path.write_bytes(data[: len(data) // 2])
    else:
        first = gzip.decompress(data).split(b"\n")[1].split(b",")[0]
        path.write_bytes(gzip.compress(gzip.decompress(data).replace(first, first + b"a" * 300)))
    with pytest.raises(InputError):
        load_reader("mimic_cxr").read(root)
