"""Which device and number format a training uses, decided by hardware features and never by a timing."""

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["auto", "bf16", "fp32"]
# In float32 never slower than contiguous where benchmarks/encoders.py was run (docs/default_run.md).
LAYOUT = torch.channels_last


def choose_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(precision: Precision, device: torch.device) -> Literal["bf16", "fp32"]:
    """Turn `auto` into `bf16` where the device has bfloat16 arithmetic, else into `fp32`."""
    if precision != "auto":
        return precision
    return "bf16" if _has_bf16(device) else "fp32"


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast(precision: Literal["bf16", "fp32"], device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which forward passes run; `fp32` leaves everything as it is."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
