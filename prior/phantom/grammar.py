"""A small text grammar: (a|b|) picks an alternative, {name} is a slot, everything else stands for itself."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGE = Path(__file__).parent / "language"
Pick = Callable[[int], int]


@dataclass(frozen=True)
class Choice:
    """Alternatives, each a sequence of parts."""

    options: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Slot:
    """A hole to be filled by name."""

    name: str


@lru_cache(maxsize=1)
def language() -> dict[str, Any]:
    """The word lists: findings, structure, incidental."""
    files = {
        p.stem: yaml.load(p.read_text("utf-8"), yaml.CSafeLoader) for p in sorted(LANGUAGE.glob("*.yaml"))
    }
    return files


@cache
def compile_template(template: str) -> tuple[Any, ...]:
    """Parse a template into strings, slots and choices.

    Raises:
        ValueError: a bracket is not closed.
    """
    parts, end = _sequence(template, 0)
    if end != len(template):
        raise ValueError(f"unbalanced bracket at {end} in template {template!r}")
    return parts


def _sequence(text: str, at: int) -> tuple[tuple[Any, ...], int]:
    parts: list[Any] = []
    while at < len(text) and text[at] not in "|)":
        if text[at] == "(":
            options = []
            while True:
                option, at = _sequence(text, at + 1)
                options.append(option)
                if at >= len(text):
                    raise ValueError(f"bracket is not closed in template {text!r}")
                if text[at] == ")":
                    break
            parts.append(Choice(tuple(options)))
            at += 1
        elif text[at] == "{":
            close = text.index("}", at)
            parts.append(Slot(text[at + 1 : close]))
            at = close + 1
        else:
            stop = re.compile(r"[|(){]").search(text, at)
            close = stop.start() if stop else len(text)
            parts.append(text[at:close])
            at = close
    return tuple(parts), at


def expand(template: str, slots: Mapping[str, Callable[[], str]], pick: Pick) -> str:
    """Write out one reading of `template`.

    Args:
        template: grammar text.
        slots: a function for every slot name; results may again be templates.
        pick: takes the number of alternatives, gives the index to use.

    Raises:
        KeyError: a slot without a function.
    """
    return re.sub(r" {2,}", " ", _write(compile_template(template), slots, pick)).strip()


def _write(parts: tuple[Any, ...], slots: Mapping[str, Callable[[], str]], pick: Pick) -> str:
    out = []
    for part in parts:
        if isinstance(part, str):
            out.append(part)
        elif isinstance(part, Slot):
            out.append(_write(compile_template(slots[part.name]()), slots, pick))
        else:
            out.append(_write(part.options[pick(len(part.options))], slots, pick))
    return "".join(out)
