"""Batch-norm statistics that an auxiliary forward pass must leave alone."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def keep_running_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise with the batch's own statistics, as training does, but keep the running ones as they are."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
