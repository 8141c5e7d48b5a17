"""Batch norm over the whole batch where it is split over processes.

torch's SyncBatchNorm runs on GPUs only, and replaces modules; here the functional that all batch norms end in
(timm's, too) is replaced while a step runs, on any device.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from prior.objectives.gather import gather_equal, processes


def synced_norm() -> AbstractContextManager[Any]:
    """Return the context in which batch norm in training sees the rows of all processes."""
    return _SyncedNorm() if processes() > 1 else nullcontext()


class _SyncedNorm(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is F.batch_norm:
            func = batch_norm
        return func(*args, **(kwargs or {}))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` with the statistics of all processes' rows; computed in float32.

    The moments of the processes are joined as in Chan, Golub and LeVeque (1979), without the cancellation of
    a mean of squares. Gradients pass through the moments of all processes.

    Args:
        input: [n, C, ...]; n may differ between the processes, and be zero.
        running_mean: [C], updated in place.
        running_var: [C], updated in place.
        weight: [C].
        bias: [C].
        training: normalise by the batch; else by the running statistics, as torch does.
        momentum: of the update.
        eps: added to the variance.

    Returns:
        Like `input`.
    """
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    with torch.autocast(input.device.type, enabled=False):
        rows = input.float()
        channels = rows.shape[1]
        dims = [d for d in range(rows.ndim) if d != 1]
        shape = [channels if d == 1 else 1 for d in range(rows.ndim)]
        count = rows.numel() // channels
        mean = rows.sum(dims) / max(1, count)
        squares = (rows - mean.view(shape)).square().sum(dims)
        moments = gather_equal(torch.cat([mean, squares, mean.new_tensor([count])]).unsqueeze(0))
        means, every, counts = torch.split(moments, [channels, channels, 1], dim=1)
        total = counts.sum()
        whole = (counts * means).sum(dim=0) / total
        variance = (every + counts * (means - whole).square()).sum(dim=0) / total
        with torch.no_grad():
            if running_mean is not None and running_var is not None:
                running_mean.lerp_(whole.to(running_mean.dtype), momentum)
                unbiased = variance * total / (total - 1).clamp(min=1)
                running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        gain = (variance + eps).rsqrt()
        if weight is not None:
            gain = gain * weight.float()
        normalised = (rows - whole.view(shape)) * gain.view(shape)
        if bias is not None:
            normalised = normalised + bias.float().view(shape)
        return normalised.to(input.dtype)
