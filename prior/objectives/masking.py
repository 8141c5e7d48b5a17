"""Means over the real entries of padded tensors."""

from torch import Tensor

from prior.objectives.gather import batch_count


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average all numbers of `values` that belong to a true entry of `mask`, over the whole batch.

    Args:
        values: [*mask.shape, ...], any number of trailing dimensions.
        mask: bool.

    Returns:
        Scalar; zero (with zero gradients) where no entry of `mask` is true.
    """
    per_entry = values.reshape(*mask.shape, -1).mean(dim=-1)
    return per_entry.masked_fill(~mask, 0.0).sum() / batch_count(mask.sum())


def mean_over_reports(values: Tensor, mask: Tensor) -> Tensor:
    """Average over the sentences of each report, then over the reports that have any.

    Args:
        values: [B, S].
        mask: [B, S] bool.

    Returns:
        Scalar; zero where no report has a sentence.
    """
    per_report = values.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    return masked_mean(per_report, mask.any(dim=1))
