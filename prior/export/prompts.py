"""Prompts of one's own, or findings of the frozen set."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from prior.errors import InputError
from prior.tasks.prompts import Prompts, load_prompts

FROZEN = "strict_22"

_Phrasings = Annotated[list[str], Field(min_length=1)]


class _Sides(BaseModel):
    model_config = ConfigDict(extra="forbid")

    positive: _Phrasings
    negative: _Phrasings


_FILE = TypeAdapter(Annotated[dict[str, _Sides], Field(min_length=1)])


def read_prompts(given: str) -> Prompts:
    """Read prompts from a YAML file, or take the named findings of the frozen set.

    Args:
        given: path that ends in `.yaml` or `.yml`, or findings separated by commas.

    Returns:
        Finding → {`positive`: phrasings, `negative`: phrasings}.

    Raises:
        InputError: the file is missing or has another form, or a finding has no frozen prompts.
    """
    path = Path(given)
    if path.suffix in (".yaml", ".yml"):
        return _read_file(path)
    known, _ = load_prompts(FROZEN)
    names = {name.lower(): name for name in known}
    wanted = ["_".join(name.split()) for name in given.split(",") if name.strip()]
    unknown = [name for name in wanted if name.lower() not in names]
    if unknown or not wanted:
        raise InputError(
            f"--prompts {given!r}: no prompts for {', '.join(unknown) or 'no finding'}; choose from "
            f"{', '.join(known)}, or give a .yaml file with your own"
        )
    return {names[name.lower()]: known[names[name.lower()]] for name in wanted}


def _read_file(path: Path) -> Prompts:
    form = "it must map every finding to phrasings under `positive` and under `negative`"
    try:
        findings = _FILE.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a file with prompts") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: {where}: {first['msg']}; {form}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML ({error}); {form}") from None
    return {name: sides.model_dump() for name, sides in findings.items()}
