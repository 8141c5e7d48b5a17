"""Training in several processes: who they are, which part of a batch is whose, and what they agree on.

`torchrun` starts the processes and says so in their environment. Each trains on its part of every batch;
losses and gradients are averaged, which gives those of the whole batch (`prior.objectives.gather`). The
gradients are averaged by hand, after the backward pass: a method is called for its losses and not as a
module, it leaves out weights in some stages, and its backward pass holds collectives of its own.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from prior.objectives.gather import processes


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that `torchrun` started, by NCCL on GPUs and by Gloo elsewhere; nothing alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo")
    if not is_first():
        logging.getLogger("prior").setLevel(logging.WARNING)
    try:
        yield
    finally:
        dist.destroy_process_group()


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return rank() == 0


def rank() -> int:
    """Position of this process among those that share each batch, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def own_part(rows: int) -> slice:
    """Return this process's rows of a batch; the parts differ by one row at most, the first are larger."""
    each, more = divmod(rows, processes())
    first = rank() * each + min(rank(), more)
    return slice(first, first + each + (rank() < more))


def average(values: Tensor) -> Tensor:
    """Return the mean of `values` over the processes, without gradients."""
    if processes() == 1:
        return values.detach()
    mean = values.detach().clone()
    dist.all_reduce(mean)
    return mean / processes()


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace the gradients by their mean over the processes, in one transfer per number format."""
    if processes() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    for dtype in dict.fromkeys(g.dtype for g in gradients):
        alike = [g for g in gradients if g.dtype == dtype]
        flat = average(torch.cat([g.flatten() for g in alike]))
        for gradient, mean in zip(alike, torch.split(flat, [g.numel() for g in alike]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def collect(value: Any) -> list[Any]:
    """Return the `value` of every process, in their order."""
    if processes() == 1:
        return [value]
    values: list[Any] = [None] * processes()
    dist.all_gather_object(values, value)
    return values
