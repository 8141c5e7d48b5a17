"""Batches of the image store as tensors; everything about order comes from an explicit generator."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def load_images(store: NDArray[np.uint8], rows: NDArray[np.int64], device: str = "cpu") -> Tensor:
    """Return store rows as float [B, 1, H, W] in [0, 1].

    Args:
        store: uint8 [N, H, W], usually a memory map.
        rows: which rows, in the order of the batch.
        device: where the batch goes.
    """
    return _take(store, rows, device).float().div_(255.0)


def load_masks(store: NDArray[np.uint8], rows: NDArray[np.int64], device: str = "cpu") -> Tensor:
    """Return mask rows as float [B, 1, H, W] of 0 and 1."""
    return _take(store, rows, device).float()


def _take(store: NDArray[np.uint8], rows: NDArray[np.int64], device: str) -> Tensor:
    taken = np.ascontiguousarray(store[np.asarray(rows, dtype=np.int64)])
    return torch.from_numpy(taken).unsqueeze(1).to(device, non_blocking=True)


def epoch_batches(
    count: int, batch_size: int, generator: torch.Generator, drop_last: bool = True
) -> Iterator[NDArray[np.int64]]:
    """Yield the positions 0..count-1 in random order, `batch_size` at a time.

    Args:
        count: how many items.
        batch_size: items per batch; with `drop_last` a smaller last one is left out.
        generator: source of the order, on the CPU.
        drop_last: whether batches must be full; a set smaller than one batch is still one batch.
    """
    order = torch.randperm(count, generator=generator).numpy()
    full = count - count % batch_size if drop_last and count >= batch_size else count
    for start in range(0, full, batch_size):
        yield order[start : start + batch_size]


def step_batches(
    count: int, batch_size: int, steps: int, generator: torch.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield `steps` batches, reshuffling when the items are used up; small sets are repeated to fill one."""
    waiting = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(waiting) < batch_size:
            waiting = np.concatenate([waiting, torch.randperm(count, generator=generator).numpy()])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def ordered_batches(count: int, batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the positions 0..count-1 in order; the last batch may be smaller."""
    for start in range(0, count, batch_size):
        yield np.arange(start, min(start + batch_size, count))
