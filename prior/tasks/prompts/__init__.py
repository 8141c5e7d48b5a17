"""Frozen prompt files for zero-shot classification."""

import hashlib
from pathlib import Path

import yaml

from prior.errors import InputError

Prompts = dict[str, dict[str, list[str]]]

FOLDER = Path(__file__).parent


def load_prompts(name: str) -> tuple[Prompts, str]:
    """Read the prompt set `name`.

    Returns:
        Finding → {`positive`: phrasings, `negative`: phrasings}, and the sha256 of the file.

    Raises:
        InputError: There is no such set, or a finding lacks phrasings.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise InputError(f"prompts: no set named {name!r}; choose one of {known}, or add {path.name}.")
    content = path.read_bytes()
    prompts: Prompts = yaml.safe_load(content)
    for finding, sides in prompts.items():
        if set(sides) != {"positive", "negative"} or not all(sides.values()):
            raise InputError(f"{path}: {finding} needs phrasings under `positive` and under `negative`.")
    return prompts, hashlib.sha256(content).hexdigest()
