"""Frozen prompt files of zero-shot classification and grounding; their hash stands beside every result."""

import hashlib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from prior.errors import InputError

Prompts = dict[str, dict[str, list[str]]]

FOLDER = Path(__file__).parent
SIDES = {"positive", "negative"}


def load_prompts(name: str) -> tuple[Prompts, str]:
    """Read the prompt set `name`.

    A side is a list of phrasings, or a mapping of parts (severity, subtype, location, say) of which every
    combination is a phrasing, in the order of the parts; an empty part adds no word.

    Returns:
        Finding → {`positive`: phrasings, `negative`: phrasings, none in sets without them}, and the sha256 of
        the file.

    Raises:
        InputError: There is no such set, or a finding lacks positive phrasings or has unknown sides.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise InputError(f"prompts: no set named {name!r}; choose one of {known}, or add {path.name}.")
    content = path.read_bytes()
    prompts: Prompts = {}
    for finding, sides in yaml.safe_load(content).items():
        if not set(sides) <= SIDES or not sides.get("positive") or not sides.get("negative", True):
            raise InputError(
                f"{path}: {finding} needs phrasings under `positive`, and under `negative` if it names it."
            )
        prompts[finding] = {side: _phrasings(sides.get(side, [])) for side in sorted(SIDES)}
    return prompts, hashlib.sha256(content).hexdigest()


def _phrasings(side: list[str] | dict[str, list[str]]) -> list[str]:
    if isinstance(side, list):
        return side
    return [" ".join(part for part in parts if part) for parts in product(*side.values())]


def drawn_prompts(prompts: Prompts, draw: Mapping[str, Any] | None) -> Prompts:
    """Keep `count` phrasings of every side, the first in the order of sha256(`<seed>:<finding>:<text>`).

    Args:
        prompts: of `load_prompts`.
        draw: `count` and `seed`; None keeps all.
    """
    if draw is None:
        return prompts
    count, seed = int(draw["count"]), draw["seed"]

    def order(finding: str, text: str) -> str:
        return hashlib.sha256(f"{seed}:{finding}:{text}".encode()).hexdigest()

    return {
        finding: {
            side: sorted(texts, key=lambda text, finding=finding: order(finding, text))[:count]  # type: ignore[misc]
            for side, texts in sides.items()
        }
        for finding, sides in prompts.items()
    }
