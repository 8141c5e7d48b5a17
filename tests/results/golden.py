"""A small fixed table, and the tables of it that Git keeps: written by `python tests/results/golden.py`."""

import shutil
import sys
import tempfile
from pathlib import Path

from prior.results.tables import tables

FOLDER = Path(__file__).parent / "golden"
TASKS = ("classification", "segmentation", "detection", "zero_shot", "retrieval")


def render(out: Path) -> dict[str, str]:
    """Write every table of the fixed one below `out`.

    Returns:
        Name → text of the tables that this stage writes, in Markdown, CSV and LaTeX.
    """
    given = FOLDER / "input"
    shutil.copytree(given, out, dirs_exist_ok=True)
    tables(out, TASKS, with_ablations=True)
    kept = {path.name for path in (given / "tables").iterdir()}
    made = sorted(path for path in (out / "tables").iterdir() if path.name not in kept)
    return {path.name: path.read_text(encoding="utf-8") for path in made}


def main() -> None:
    """Replace the tables that Git keeps."""
    for old in (FOLDER / "tables").glob("*"):
        old.unlink()
    (FOLDER / "tables").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in render(Path(folder)).items():
            (FOLDER / "tables" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
