"""Batches that are split over processes: what an objective needs of the others' rows.

Each process holds some rows of the batch. An objective compares its own rows with everyone's (`gather`) and
divides by everyone's count over the number of processes (`batch_count`, `batch_mean`). The mean of its values
over the processes, and the mean of their gradients, are then those of one process with the whole batch; it is
the mean that torch's DistributedDataParallel takes, too. In a single process all of this is the identity.

The functions wait for all processes: each must call them equally often and in the same order, also where it
has no rows. The own rows are a contiguous part of the batch, in the order of the processes.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import _functional_collectives
from torch.nn import functional as F

# Any: parts of the module are not typed. It is torch's replacement for the deprecated torch.distributed.nn.
_collectives: Any = _functional_collectives


def processes() -> int:
    """Number of processes that share each batch."""
    return dist.get_world_size() if dist.is_initialized() else 1


def gather(rows: Tensor) -> tuple[Tensor, int]:
    """Concatenate the rows of all processes; gradients return to the processes that made the rows.

    Args:
        rows: [n, ...]; n and the other sizes (sentences, tokens) may differ between the processes.

    Returns:
        [N, ...], padded with zeros to the largest of the other sizes, and the position of the first own row.
    """
    if processes() == 1:
        return rows, 0
    own = torch.tensor(rows.shape, device=rows.device)
    shapes = gather_equal(own.unsqueeze(0)).tolist()
    # One row at least: collectives of nothing are not defined.
    common = [max(sizes) for sizes in zip(*shapes, [1] + [0] * (rows.ndim - 1), strict=True)]
    missing = [want - have for want, have in zip(common, rows.shape, strict=True)]
    padded = F.pad(rows, [side for size in reversed(missing) for side in (0, size)])
    parts = torch.split(gather_equal(padded), common[0])
    counts = [shape[0] for shape in shapes]
    kept = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return kept, sum(counts[: dist.get_rank()])


def gather_equal(rows: Tensor) -> Tensor:
    """Concatenate rows of one shape in all processes, with gradients; there must be several processes."""
    started = _collectives.all_gather_single_autograd(rows.contiguous(), 0, dist.group.WORLD)
    gathered: Tensor = _collectives.wait_tensor(started)
    return gathered


def batch_count(count: Tensor) -> Tensor:
    """Divide the sum of `count` over the processes, at least 1, by their number.

    Args:
        count: scalar, of the own rows.

    Returns:
        Scalar without gradients; `count`, at least 1, in a single process.
    """
    number = processes()
    if number == 1:
        return count.clamp(min=1)
    total = count.detach().clone()
    dist.all_reduce(total)
    return total.clamp(min=1) / number


def batch_mean(values: Tensor) -> Tensor:
    """Sum the own values, [n, ...], and divide by the `batch_count` of all; zero where there are none."""
    if processes() == 1:
        return values.sum() / max(1, values.numel())
    return values.sum() / batch_count(torch.tensor(values.numel(), device=values.device))


def batch_rows(rows: int, device: torch.device) -> int:
    """Rows of all processes together; the own `rows` are on `device`."""
    return sum(_counts(rows, device))


def draw_rows(draw: Callable[[int], Tensor], rows: int, device: torch.device) -> Tensor:
    """Draw random numbers for the whole batch and keep those of the own rows.

    Where the processes' generators agree, a split batch gets the numbers that it gets as a whole.

    Args:
        draw: makes the numbers of that many rows, [rows, ...].
        rows: number of own rows.
        device: where they are.
    """
    counts = _counts(rows, device)
    if len(counts) == 1:
        return draw(rows)
    first = sum(counts[: dist.get_rank()])
    return draw(sum(counts))[first : first + rows]


def _counts(rows: int, device: torch.device) -> list[int]:
    if processes() == 1:
        return [rows]
    counts: list[int] = gather_equal(torch.tensor([rows], device=device)).tolist()
    return counts
