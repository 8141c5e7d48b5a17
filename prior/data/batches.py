"""Batches of the image store as tensors."""

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
    taken = np.ascontiguousarray(store[np.asarray(rows, dtype=np.int64)])
    return torch.from_numpy(taken).unsqueeze(1).to(device, non_blocking=True).float().div_(255.0)
