"""Protocols are data: one YAML per family, every knob with its value and where the value comes from."""

import json
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from prior.errors import InputError

FOLDER = Path(__file__).parent


class Protocol(BaseModel):
    """All knobs of one setting of one task.

    Attributes:
        family: name of the YAML file.
        task: downstream task.
        setting: for instance `linear`, `frozen` or `finetune`.
        knobs: name → value.
        first_seed: the seed on which everything that is searched is searched.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    task: str
    setting: str
    knobs: dict[str, Any]
    first_seed: int = 0

    def __getitem__(self, knob: str) -> Any:
        """Return the value of `knob`.

        Raises:
            InputError: the YAML does not state it.
        """
        try:
            return self.knobs[knob]
        except KeyError:
            raise InputError(
                f"prior/protocols/{self.family}.yaml: {self.task} {self.setting} does not state `{knob}`; "
                "add it with value and source"
            ) from None

    def require(self, choices: Mapping[str, Collection[Any]], read: Collection[str]) -> None:
        """Stop unless everything that this setting states is what the task does.

        Args:
            choices: knob → the values that are implemented; of a list or a mapping, each item must be one.
            read: knobs whose values are numbers, names or structures that the task reads as they are.

        Raises:
            InputError: a knob that the task does not know, or a value that it does not implement.
        """
        where = f"prior/protocols/{self.family}.yaml: {self.task} {self.setting}"
        for knob, value in self.knobs.items():
            if knob in choices and not _implemented(value, choices[knob]):
                known = ", ".join(json.dumps(choice) for choice in choices[knob])
                raise InputError(
                    f"{where} states `{knob}: {json.dumps(value)}`, which is not implemented; "
                    f"choose one of {known}"
                )
            if knob not in choices and knob not in read:
                known = ", ".join(f"`{name}`" for name in sorted({*choices, *read}))
                raise InputError(
                    f"{where} states `{knob}`, which {self.task} does not read; remove it, implement it in "
                    f"prior/tasks/{self.task}.py, or choose one of {known}"
                )


def _implemented(value: Any, choices: Collection[Any]) -> bool:
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    known = list(choices)
    return value in known or (len(items) > 0 and all(item in known for item in items))


@cache
def _read(family: str) -> dict[str, Any]:
    path = FOLDER / f"{family}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
        raise InputError(f"protocol `{family}` is unknown; choose one of {known}, or add {path.name}")
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def _stated(family: str, task: str, setting: str) -> dict[str, dict[str, Any]]:
    """Merge the knobs of the family, the task and the setting; the narrower one wins."""
    content = _read(family)
    tasks = content["tasks"]
    if task not in tasks:
        raise InputError(f"protocol `{family}` has no task `{task}`; it has {', '.join(tasks)}")
    settings = tasks[task]["settings"]
    if setting not in settings:
        raise InputError(f"protocol `{family}` has no {task} `{setting}`; it has {', '.join(settings)}")
    stated = {**content["common"], **tasks[task].get("common", {}), **settings[setting]}
    for name, knob in stated.items():
        if not isinstance(knob, dict) or set(knob) != {"value", "source"}:
            raise InputError(
                f"prior/protocols/{family}.yaml: `{name}` of {task} {setting} needs value and source"
            )
    return stated


def load_protocol(family: str, task: str, setting: str) -> Protocol:
    """Load one setting of a protocol family.

    Raises:
        InputError: the family, task or setting does not exist, or a knob has no value or source.
    """
    knobs = {name: knob["value"] for name, knob in _stated(family, task, setting).items()}
    return Protocol(family=family, task=task, setting=setting, knobs=knobs)


def load_sources(family: str, task: str, setting: str) -> dict[str, str]:
    """Return where the value of each knob comes from, by knob.

    Raises:
        InputError: as `load_protocol`.
    """
    return {name: str(knob["source"]) for name, knob in _stated(family, task, setting).items()}
