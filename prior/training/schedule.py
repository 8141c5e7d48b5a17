"""Learning rate per step, and how the stages of a method share an experiment's epochs."""

import math
from collections.abc import Sequence

from prior.errors import InputError
from prior.methods.base import Stage


def learning_rate(step: int, steps: int, warmup_steps: int, peak: float, warmup_from: float) -> float:
    """Linear warm-up from `warmup_from` to `peak`, then half a cosine towards 0.

    The first step after the warm-up has `peak`; the step after the last would have 0. The form is that of
    Loshchilov and Hutter, arXiv 1608.03983, without restarts.

    Args:
        step: index within the stage, from 0.
        steps: length of the stage.
        warmup_steps: length of the warm-up, included in `steps`.
        peak: highest learning rate.
        warmup_from: learning rate of step 0 when there is a warm-up.
    """
    if step < warmup_steps:
        return warmup_from + (peak - warmup_from) * step / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * peak * (1 + math.cos(math.pi * progress))


def share_epochs(stages: Sequence[Stage], total: int) -> list[int]:
    """Split `total` epochs over the stages in proportion to their own lengths, at least one each.

    Every method therefore sees the same number of image–report pairs, however many stages it has.

    Raises:
        InputError: there are more stages than epochs.
    """
    if not stages:
        return []
    if total < len(stages):
        raise InputError(
            f"pretraining.epochs is {total}, but the method has {len(stages)} stages "
            f"({', '.join(s.name for s in stages)}); set pretraining.epochs to at least {len(stages)}"
        )
    own = sum(stage.epochs for stage in stages)
    # Every stage has one epoch anyway; what is shared is what lies above it, so exact proportions stay exact.
    above = [max(0.0, total * stage.epochs / own - 1) for stage in stages]
    spare = total - len(stages)
    exact = [spare * a / (sum(above) or 1.0) for a in above]
    shares = [math.floor(e + 1e-9) for e in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: spare - sum(shares)]:
        shares[i] += 1
    return [1 + share for share in shares]
