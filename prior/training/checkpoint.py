"""Resume files: everything a training needs to go on as if it had never stopped."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from prior.data.files import atomic_path
from prior.training.distributed import collect, is_first, rank


def rng_state() -> dict[str, Any]:
    """Return the states of torch's global generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_rng(states: list[dict[str, Any]]) -> None:
    """Set torch's global generators to this process's one of `states`."""
    state = states[rank()]
    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


def save_checkpoint(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, progress: dict[str, Any]
) -> None:
    """Write weights, optimiser state, generator states and `progress` (plain values) atomically.

    The first process writes, with the generator states of all.
    """
    states = collect(rng_state())
    if not is_first():
        return
    state = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": states,
        "progress": progress,
    }
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a resume file with `weights_only=True`, or return None where there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
