"""Simulated raw trees, made once and copied where a test breaks them."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from prior.phantom.archives import simulate_archive
from prior.phantom.simulate import simulate
from prior.phantom.writers import SIMULATORS

COUNT, SEED, SIZE = 60, 5, 64
_KEEP: list[tempfile.TemporaryDirectory] = []


@cache
def _made(name: str) -> Path:
    _KEEP.append(tempfile.TemporaryDirectory())
    root = Path(_KEEP[-1].name) / name
    (simulate_archive if name in SIMULATORS else simulate)(name, root, COUNT, SEED, SIZE, 1)
    return root


def archive(name: str, copy_to: Path | None = None) -> Path:
    """The raw tree of `name`, or a copy of it below `copy_to`."""
    root = _made(name)
    return root if copy_to is None else Path(shutil.copytree(root, copy_to / name))
