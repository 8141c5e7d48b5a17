"""Figures that papers print: `published.yaml`, checked, as one entry per cell; and where papers disagree.

Published figures are never rows of the long table, and never stand beside simulated results (`beside.py`).
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prior.errors import InputError
from prior.results.published_figure import Cell, Checked, Mark, Name, Published, Source

FILE = Path(__file__).with_suffix(".yaml")
ROW = re.compile(r"([a-z0-9_]+)(?: \(([^()]+)\))?")
NO_FIGURE = "-"


class _Block(BaseModel):
    """One table or a part of it; other keys are those of `Published` that all of its cells share."""

    model_config = ConfigDict(extra="allow", frozen=True)

    source: str
    table: str
    confidence: Mark | dict[str, Mark]
    columns: Annotated[list[dict[str, Any]], Field(min_length=1)] = [{}]
    values: Annotated[dict[str, str], Field(min_length=1)]


class _File(Checked):
    sources: dict[Name, Source]
    families: dict[Name, str]
    blocks: list[dict[str, Any]]


def _message(error: ValidationError) -> str:
    """The first problem: key, what is wrong, and what was given."""
    first = error.errors()[0]
    # Branches of a union stand in the path as types.
    parts = [str(part) for part in first["loc"] if not str(part).startswith(("literal[", "dict["))]
    key = ".".join(parts) + (": " if parts else "")
    given = f" (given: {first['input']!r})" if key and first["type"] != "missing" else ""
    return key + first["msg"].removeprefix("Value error, ") + given


def _repeated(node: yaml.Node) -> Iterator[str]:
    """Keys that stand twice in one mapping: YAML would keep the last one without a word."""
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _repeated(child)
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        line = node.start_mark.line + 1
        yield from (f"`{key}` twice below line {line}" for key in dict.fromkeys(keys) if keys.count(key) > 1)
        for _, child in node.value:
            yield from _repeated(child)


def _read(path: Path) -> _File:
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        repeated = next(_repeated(root), None) if root else "no content"
        if repeated:
            raise InputError(f"{path}: {repeated}")
        return _File.model_validate(loader.construct_document(root))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {_message(error)}") from None


def _confidence(block: _Block, method: str) -> Mark:
    if isinstance(block.confidence, str):
        return block.confidence
    if "others" not in block.confidence:
        raise InputError("confidence: a mapping needs `others`")
    return block.confidence.get(method, block.confidence["others"])


def _row(block: _Block, source: Source, name: str, text: str) -> Iterator[Published]:
    """Entries of one row; a message of what is wrong begins with the column, or with the key."""
    named = ROW.fullmatch(name)
    if named is None:
        raise InputError("values: a row is named `method` or `method (variant)`")
    cells = [cell.strip() for cell in text.split(" / ")]
    if len(cells) != len(block.columns):
        raise InputError(f"values: {len(cells)} cells for {len(block.columns)} columns")
    shared = {
        **(block.model_extra or {}),
        **{"method": named[1], "variant": named[2] or "", "source": source, "table": block.table},
        "confidence": _confidence(block, named[1]),
    }
    for number, (column, printed) in enumerate(zip(block.columns, cells, strict=True), 1):
        if printed == NO_FIGURE:
            continue
        try:
            yield Published.model_validate({**shared, **column, "printed": printed})
        except ValidationError as error:
            raise InputError(f"column {number}: {_message(error)}") from None


def _entries(file: _File) -> Iterator[tuple[str, Published]]:
    """Every entry, with words that name its block and row."""
    for number, content in enumerate(file.blocks, 1):
        where = f"block {number} ({content.get('source')}, {content.get('table')})"
        try:
            block = _Block.model_validate(content)
        except ValidationError as error:
            raise InputError(f"{where}: {_message(error)}") from None
        if block.source not in file.sources:
            raise InputError(f"{where}: source: `{block.source}` is not below `sources`")
        for name, text in block.values.items():
            try:
                for entry in _row(block, file.sources[block.source], name, text):
                    if entry.family not in file.families:
                        raise InputError(f"family: `{entry.family}` is not below `families`")
                    yield f"{where}, row `{name}`", entry
            except InputError as error:
                raise InputError(f"{where}, row `{name}`: {error}") from None


@cache
def load_published(path: Path = FILE) -> tuple[Published, ...]:
    """Read and check all figures, in the order of the file.

    Raises:
        InputError: one message that names the file, the entry (block, row, column) and the key.
    """
    found: list[Published] = []
    seen: set[tuple[Cell, Source, str]] = set()
    try:
        for where, entry in _entries(_read(path)):
            if (entry.cell, entry.source, entry.table) in seen:
                raise InputError(f"{where}: values: the same cell of the same table is given before")
            seen.add((entry.cell, entry.source, entry.table))
            found.append(entry)
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    return tuple(found)


@cache
def families(path: Path = FILE) -> dict[str, str]:
    """Protocol family → what it means, in words."""
    return dict(_read(path).families)


def lookup(
    task: str,
    dataset: str,
    family: str,
    fraction: float | None,
    metric: str,
    figures: Sequence[Published] | None = None,
) -> list[Published]:
    """All figures of one cell of the benchmark, of every method and setting; several where papers differ.

    Args:
        task: downstream task.
        dataset: data set.
        family: protocol family.
        fraction: share of the training labels, None where the task uses none.
        metric: metric name.
        figures: where to look; everything published if None.
    """
    wanted = (task, dataset, family, fraction, metric)
    return [
        entry
        for entry in (load_published() if figures is None else figures)
        if (entry.task, entry.dataset, entry.family, entry.fraction, entry.metric) == wanted
    ]


def by_cell(figures: Sequence[Published]) -> dict[Cell, list[Published]]:
    """Figures of each cell, in file order."""
    groups: dict[Cell, list[Published]] = {}
    for entry in figures:
        groups.setdefault(entry.cell, []).append(entry)
    return groups


def agree(first: Published, second: Published) -> bool:
    """Whether two figures are equal as far as the coarser of them is printed."""
    return abs(first.value - second.value) <= max(first.rounding, second.rounding) + 1e-12


def conflicts(figures: Sequence[Published] | None = None) -> list[list[Published]]:
    """Groups of figures of the same cell that stand in several papers and do not agree, in file order."""
    groups = by_cell(load_published() if figures is None else figures).values()
    return [
        group
        for group in groups
        if any(a.source != b.source and not agree(a, b) for a in group for b in group)
    ]
