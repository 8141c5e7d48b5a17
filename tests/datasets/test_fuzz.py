"""Bytes of raw trees are changed at random: whatever comes, the caller sees an InputError or a result.

Every reader runs in a child process that may neither grow nor compute beyond a limit.
"""

import csv
import gzip
import io
import json
import os
import random
import resource
import shutil
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prior.data.pixels import load_pixels
from prior.data.prepare import prepare
from prior.datasets import load_reader
from prior.errors import InputError
from prior.phantom.archives import simulate_archive
from prior.phantom.simulate import simulate
from prior.phantom.writers import SIMULATORS
from tests.data.test_pixels import compress
from tests.datasets.trees import write_dicom

ROUNDS, WHOLE = 6, 3  # damaged trees of a reader; every third is also decoded, split and written
LONGEST = 10.0  # seconds of computing for one damaged tree; a whole one takes a fraction of a second
MEMORY, SECONDS = 1 << 30, 60  # what a child may add to its memory, and how long it may compute
TABLES = (".csv", ".gz", ".json", ".xml", ".txt")
HOSPITAL = ("mimic_cxr", "chexpert", "rsna", "siim", "object_cxr")
# the same code on the same files
ALIKE = {"siim:stage_1", "siim:stage_2", "covidx:6", "covidx:9B", "lesion_boxes", "kermany"}
KEYS = [key for key in (*HOSPITAL, *SIMULATORS) if key not in ALIKE]
READERS = {key: (key.partition(":")[0], key, ".") for key in KEYS}
READERS |= {f"iu_xray {layout}": ("iu_xray", "iu_xray", layout) for layout in ("open_i", "r2gen")}
READERS["chexpert_5x200_prior"] = ("chexpert_5x200_prior", "chexpert", ".")
READERS["tbx11k xml"] = ("tbx11k", "tbx11k", ".")
SYNTAXES = (
    None, "JPEGBaselineProcess1", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless",
    "RLELossless",
)  # fmt: skip
SNIPPETS = (
    b"\x00", b"\xff\xfe", b'"', b"\n", b",,,,", b"-1", b"1e400", b"nan", b"../../", b"/etc/passwd", b"\xe9",
    b"9" * 100, b"[" * 3000, b"<a>", b"&x;", b"]]>", b"'", b";", b"{}", b"null", b"A" * 150,
)  # fmt: skip
"""A few kinds of damage that single bytes rarely make."""
ODD = (
    "", "nan", "inf", "-1", "1e400", "9" * 30, "9" * 400, "../../x", "a/b/c/d.png", "²", "a\0b", "x" * 300,
    '"', "|", "No Finding", "2 0 0 9 9 5 5", "0 0 0 99999999 99999999",
)  # fmt: skip
ODD_VALUES = (
    None, True, -1, float("inf"), float("nan"), 10**30, "", "../x", "\ud800", "9" * 40, [], {}, [[]],
    [1, 2, 3, 4],
)  # fmt: skip
"""Values that are well-formed and wrong."""


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


def odd_cells(data: bytes, rng: random.Random) -> bytes:
    """Put odd values into cells of a table, drop, repeat or lengthen rows."""
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    for _ in range(rng.choice((1, 1, 4))):
        at, kind = rng.randrange(len(rows)), rng.randrange(6)
        if kind == 0 and len(rows) > 2:
            del rows[at]
        elif kind == 1:
            rows.insert(at, list(rng.choice(rows)))
        elif kind == 2:
            rows[at].append(rng.choice(ODD))
        elif rows[at]:
            rows[at][rng.randrange(len(rows[at]))] = rng.choice(ODD)
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def odd_values(data: bytes, rng: random.Random) -> bytes:
    """Put odd values into a JSON file."""
    content = json.loads(data)
    places = [(content, key) for key in (content if isinstance(content, dict) else range(len(content)))]
    for holder, key in places:  # grows while it is read: every value of every list and object
        inner = holder[key]
        if isinstance(inner, dict | list):
            places += [(inner, k) for k in (inner if isinstance(inner, dict) else range(len(inner)))]
    for holder, key in rng.sample(places, min(len(places), rng.choice((1, 1, 3)))):
        holder[key] = rng.choice(ODD_VALUES)
    return json.dumps(content).encode()


def damage(path: Path, rng: random.Random) -> None:
    """Damage a file, byte by byte or value by value; of a compressed table what is inside."""
    data = path.read_bytes()
    plain = gzip.decompress(data) if path.suffix == ".gz" else data
    by_value = {".csv": odd_cells, ".gz": odd_cells, ".json": odd_values}.get(path.suffix, damaged)
    try:
        changed = (by_value if rng.random() < 0.5 else damaged)(plain, rng)
    except ValueError:  # what a first round damaged has no values any more
        changed = damaged(plain, rng)
    path.write_bytes(gzip.compress(changed, mtime=0) if path.suffix == ".gz" else changed)


@pytest.fixture(scope="module", autouse=True)
def imported(raw, tmp_path_factory):
    """Load what preparing loads, so that no child has to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("siim", "mimic_cxr"):
            prepare(name, raw(name), tmp_path_factory.mktemp("out"), 16)


def in_child(work) -> None:
    """Run `work` in a process of limited memory and computing time; what goes wrong there fails the test."""
    child = os.fork()
    if child == 0:
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("name", READERS)
def test_damage_is_an_input_error_or_no_matter(name, raw, tmp_path):
    reader, dataset, folder = READERS[name]
    source, rng = raw(dataset), random.Random(name)

    def work():
        for round_ in range(ROUNDS):
            root = Path(shutil.copytree(source, tmp_path / f"raw{round_}"))
            if name == "tbx11k xml":
                shutil.rmtree(root / "TBX11K/annotations/json")
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

    in_child(work)


def images(folder: Path) -> dict[str, bytes]:
    """One image of every kind that is decoded."""
    pixels = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint16) * 30
    found = {}
    for syntax in SYNTAXES:
        path = folder / f"{syntax}.dcm"
        write_dicom(path, (pixels // 16).astype(np.uint8) if syntax == SYNTAXES[1] else pixels)
        if syntax:
            compress(path, syntax)
        found[path.name] = path.read_bytes()
    for kind, values in (("PNG", pixels), ("JPEG", (pixels // 16).astype(np.uint8)), ("PNG", pixels > 900)):
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, format=kind)
        found[f"{len(found)}.{kind.lower()}"] = buffer.getvalue()
    return found


def test_damaged_images_are_decoded_or_refused(tmp_path):
    whole, rng = images(tmp_path), random.Random(0)

    def work():
        opened = 0
        for _ in range(60):
            for name, content in whole.items():
                path = tmp_path / name
                path.write_bytes(damaged(content, rng))
                with suppress(InputError):
                    load_pixels(path, rng.choice((0, 32)))
                    opened += 1
        assert 20 < opened < 60 * len(whole) - 100

    in_child(work)


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
