"""Where image weights to start from may come from; known to the graph, which imports no torch."""

from pathlib import Path

from prior.errors import InputError

HUB = "hub"
FORMATS = (".safetensors", ".pth")


def check_weights(path: Path, key: str) -> None:
    """Raise `InputError` that names the setting `key` where `path` is no file in one of the formats."""
    if path.suffix not in FORMATS or not path.is_file():
        raise InputError(
            f"{key}: {path} is not an existing {' or '.join(FORMATS)} file; give one with timm's names, or "
            f"`{HUB}` to let timm download its own weights"
        )
