"""Ways to break a raw tree, and what preparing it then says."""

import csv
import gzip
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from prior.data.prepare import prepare
from prior.errors import InputError

TWICE, VALUE = "a value that no earlier row has", "a value"


def refused(name: str, root: Path, out: Path) -> str:
    """The message of a refused preparation; of what it wrote only resumable work may be left."""
    with pytest.raises(InputError) as caught:
        prepare(name, root, out, 16)
    left = [path for path in out.rglob("*") if path.is_file()] if out.exists() else []
    assert all(path.parent.name.startswith(".partial-") for path in left)
    return str(caught.value).replace(str(root), "ROOT")


def check(message: str, expected: str) -> None:
    """Compare with `expected`, where * stands for what a library says."""
    assert re.fullmatch(re.escape(expected).replace(r"\*", ".*"), message), message


def cell(file: str, column: str, value: str, line: int = 3):
    def change(root: Path) -> None:
        with (root / file).open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        if line == 1:
            rows[0][rows[0].index(column)] = value
        else:
            rows[line - 1][rows[0].index(column)] = value
        with (root / file).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)

    return change


def in_every_row(file: str, column: str, value: str):
    """Put `value` into every filled cell of the column."""

    def change(root: Path) -> None:
        frame = pd.read_csv(root / file, dtype=str)
        frame[column] = frame[column].where(frame[column].isna(), value)
        frame.to_csv(root / file, index=False)

    return change


def repeat_line(file: str, line: int = 3):
    """Put a copy of the line before it, so that `line + 1` is the second of two."""

    def change(root: Path) -> None:
        with (root / file).open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        with (root / file).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([*rows[:line], *rows[line - 1 :]])

    return change


def latin1(file: str):
    return lambda root: (root / file).write_bytes((root / file).read_bytes() + b"na\xefve")


def remove(pattern: str):
    return lambda root: next(iter(sorted(root.glob(pattern)))).unlink()


def halve(pattern: str):
    def change(root: Path) -> None:
        path = next(iter(sorted(root.glob(pattern))))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return change


def text(file: str, old: str, new: str):
    def change(root: Path) -> None:
        content = (root / file).read_text(encoding="utf-8")
        assert old in content
        (root / file).write_text(content.replace(old, new, 1), encoding="utf-8")

    return change


def line_of(file: str, number: int, new: str):
    def change(root: Path) -> None:
        lines = (root / file).read_text(encoding="utf-8").splitlines()
        lines[number - 1] = new
        (root / file).write_text("\n".join(lines), encoding="utf-8")

    return change


def missing(image: str, count: int | str = "*") -> str:
    return (
        f"ROOT/{image} is listed but does not exist (1 of {count} images are missing, 0 may be); "
        "copy the images or remove their rows"
    )


def unopened(image: str, many: bool = False) -> str:
    return (
        f"{'*' if many else '1 of 60'} images will not open (allowed: 0); the first is ROOT/{image}: "
        "the image cannot be decoded (*); replace the file or remove its row"
    )


def unpack(file: str):
    """Put a plain csv in place of a compressed one; readers take either."""

    def change(root: Path) -> None:
        (root / file).write_bytes(gzip.decompress((root / f"{file}.gz").read_bytes()))
        (root / f"{file}.gz").unlink()

    return change


def after(*steps):
    return lambda root: [step(root) for step in steps]


def mask_of_another_size(pattern: str):
    return lambda root: Image.new("L", (9, 8)).save(next(iter(sorted(root.glob(pattern)))))


def column(file: str, name: str, found: str = "*") -> str:
    return (
        f"ROOT/{file} has no column '{name}' (found: {found}); use the file as released, or rename the column"
    )


def wrong(file: str, name: str, value: str, wanted: str, line: int = 3) -> str:
    return f"ROOT/{file}, line {line}, column '{name}': {value} is not {wanted}; correct this cell"


def climbs(file: str, path: str) -> str:
    return f"ROOT/{file} lists '{path}', which leads out of the raw folder; use the list as released"


def resized(folder: str) -> str:
    return f"ROOT/{folder}/*.png has 8x9 pixels, its image 64x64; replace the mask or remove its row"


def no_csv(file: str) -> str:
    return f"ROOT/{file} cannot be read as csv (*); replace the file"
