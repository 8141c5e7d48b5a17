"""What a protocol says, for a reader: every knob with its value and the source of the value."""

import json
from collections.abc import Iterator

import yaml
from tabulate import tabulate

from prior.errors import InputError
from prior.protocols import FOLDER, load_protocol, load_sources


def families() -> list[str]:
    """Names of all protocol families, ascending."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def settings(family: str) -> Iterator[tuple[str, str]]:
    """Yield (task, setting) of a family in the order of its file.

    Raises:
        InputError: the family does not exist.
    """
    if family not in families():
        raise InputError(f"protocol `{family}` is unknown; choose one of {', '.join(families())}")
    tasks = yaml.safe_load((FOLDER / f"{family}.yaml").read_text(encoding="utf-8"))["tasks"]
    yield from ((task, setting) for task in tasks for setting in tasks[task]["settings"])


def show(family: str, task: str, setting: str | None = None) -> str:
    """Return a Markdown table per setting of `task`, or of one: knob, value, source.

    Raises:
        InputError: the family, task or setting does not exist.
    """
    known = [name for of, name in settings(family) if of == task]
    # A wrong name falls through to load_protocol, which says what there is.
    wanted = known if setting is None and known else [setting or ""]
    return "\n\n".join(_section(family, task, name) for name in wanted)


def _section(family: str, task: str, setting: str) -> str:
    protocol, sources = load_protocol(family, task, setting), load_sources(family, task, setting)
    rows = [(name, _text(value), sources[name]) for name, value in protocol.knobs.items()]
    table = tabulate(rows, headers=("knob", "value", "source"), tablefmt="github", disable_numparse=True)
    return f"## {family}: {task}, {setting}\n\n{table}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
