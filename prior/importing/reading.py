"""Read the weights of a checkpoint file without running anything that it holds."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from prior.errors import InputError

# Where trainers put the weights, the first that is there: Lightning, KAD, MAE and timm.
INSIDE = ("state_dict", "model_state_dict", "image_encoder", "model")
# Put in front of every name by wrappers of the whole model.
WRAPPERS = ("module.", "_orig_mod.")
SAVE_WEIGHTS = (
    "Where its package is installed, save the weights alone and import that file: "
    "torch.save(model.state_dict(), 'weights.pth')"
)
# Numbers of NumPy, which trainers keep beside the weights, such as the best score so far.
NUMBERS: list[Any] = [
    *((scalar, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)),
]


class _StandIn:
    """Takes the place of a class or function that a checkpoint names: settings, callbacks, schedulers.

    Nothing of that name is imported or called; whatever it would have made becomes an empty mapping.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> "OrderedDict[Any, Any]":  # type: ignore[misc]
        return OrderedDict()


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the weights in a safetensors file or in a file of `torch.save`, floats as float32.

    The wrapper that a trainer saved them in is opened, and the prefix of a wrapped model is cut.

    Raises:
        InputError: the file is missing or no checkpoint, or holds something else than named weights.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} is not a file")
    if path.suffix == ".safetensors":
        try:
            content: Any = load_file(path)
        except SafetensorError as error:
            raise InputError(f"checkpoint {path} is no safetensors file: {error}") from None
    else:
        content = _load(path)
    weights = {name: value for name, value in _weights(content, path).items() if isinstance(value, Tensor)}
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    weights = {name: value.detach() for name, value in weights.items()}
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def _load(path: Path) -> Any:
    foreign = _foreign(path)
    try:
        with torch.serialization.safe_globals([*NUMBERS, *((_StandIn, name) for name in foreign)]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, TypeError, ValueError, KeyError) as error:
        names = foreign[:4] or re.findall(r"GLOBAL (\S+)", str(error))[:1]
        why = f" (it names {', '.join(names)})" if names else ""
        raise InputError(f"checkpoint {path} is no plain file of weights{why}. {SAVE_WEIGHTS}") from None
    except (RuntimeError, EOFError) as error:
        raise InputError(
            f"checkpoint {path} cannot be read: {str(error).splitlines()[0]}; download it again"
        ) from None


def _foreign(path: Path) -> list[str]:
    """Name what the file would import beyond tensors; empty for the format before torch 1.6."""
    try:
        with torch.serialization.safe_globals(NUMBERS):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, UnpicklingError, EOFError):
        return []


def _weights(content: Any, path: Path) -> Mapping[str, Any]:
    """Open wrappers until there are tensors."""
    if isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values()):
        return content
    for key in INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            return _weights(content[key], path)
    if isinstance(content, Mapping) and content:
        keys = ", ".join(sorted(str(key) for key in content)[:8])
        raise InputError(f"checkpoint {path} has no weights under {', '.join(INSIDE)}; it has {keys}")
    raise InputError(f"checkpoint {path} holds no named weights, perhaps a whole model. {SAVE_WEIGHTS}")
