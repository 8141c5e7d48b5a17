"""JSON and XML of raw downloads, read so that a damaged or hostile file is one clear message."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import pandas as pd

from prior.errors import InputError

LONGEST_NAME = 255  # bytes, of most file systems


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing, is not UTF-8 or is no JSON.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; copy it into the raw folder")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); replace the file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); replace the file") from None


def require_list(value: Any, keys: Collection[str], path: Path, what: str) -> list[dict[str, Any]]:
    """Return `value` if it is a list of objects that all have `keys`.

    Args:
        value: part of a JSON file.
        keys: keys that every object must have.
        path: the file, for the message.
        what: what the part is called in the file.

    Raises:
        InputError: it is something else; the message names the first wrong entry.
    """
    if not isinstance(value, list):
        raise InputError(f"{path}: {what!r} is no list; use the file as released")
    for position, item in enumerate(value):
        missing = [key for key in keys if not isinstance(item, dict) or key not in item]
        if missing:
            raise InputError(f"{path}: entry {position} of {what!r} has no {missing[0]!r}; correct it")
    return value


def parse_xml(data: bytes, where: str) -> ElementTree.Element:
    """Parse XML that declares no document type, so that no entity can grow or reach outside.

    Raises:
        InputError: the text is not well-formed or has a DOCTYPE; the message names `where`.
    """
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _Refusal(where)
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:
        raise InputError(f"{where} cannot be read as XML ({error}); download it again") from None


class _Refusal:
    """Expat's callback for a document type."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __call__(self, *declaration: object) -> None:
        raise InputError(f"{self.where} declares a document type (DOCTYPE), which no release has; replace it")


def require_inside(sources: pd.Series, listed_in: Path) -> None:
    """Stop if a listed path is absolute, climbs out of the raw folder or has a name that no file can have."""
    long = sources.map(
        lambda source: max(len(part.encode(errors="replace")) for part in source.split("/")) > LONGEST_NAME
    )
    if long.any():
        raise InputError(
            f"{listed_in} lists a file whose name has more than {LONGEST_NAME} bytes "
            f"({sources[long].iloc[0][:40]!r}...); use the list as released"
        )
    wrong = sources.map(lambda source: source.startswith("/") or ".." in source.split("/"))
    if wrong.any():
        raise InputError(
            f"{listed_in} lists {sources[wrong].iloc[0]!r}, which leads out of the raw folder; "
            "use the list as released"
        )


def require_digits(frame: pd.DataFrame, name: str, path: Path) -> None:
    """Stop if column `name` holds an id that is not made of digits, so that it cannot bend a path."""
    wrong = ~frame[name].str.fullmatch(r"[0-9]+")
    if wrong.any():
        line = int(wrong.to_numpy().argmax()) + 2
        raise InputError(
            f"{path}, line {line}, column {name!r}: a value is not made of digits; correct this cell"
        )


def storable(text: str) -> str:
    """Return `text` with `?` for halves of characters, which JSON can escape and no file can hold."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def whole_ids(column: pd.Series) -> pd.Series:
    """Return ids without the `.0` that numbers get where a table was saved with a missing one."""
    return column.str.replace(r"^(\d+)\.0$", r"\1", regex=True)
