"""Batch-normalised projections that see real entries only."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from prior.objectives.gather import batch_rows


class RowNorm(nn.BatchNorm1d):
    """Batch norm over rows [N, D], in float32, for any N.

    One row has no variance: with fewer than two rows the running statistics are used, and left as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise rows [N, D]."""
        rows = input.float()
        if self.training and batch_rows(len(rows), rows.device) < 2:
            return F.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(rows)


def map_rows(layers: Callable[[Tensor], Tensor], features: Tensor, mask: Tensor) -> Tensor:
    """Apply `layers` to the real entries alone, so that padding enters no statistics.

    Args:
        layers: a map of rows [N, D] to rows [N, D'].
        features: [*mask.shape, D].
        mask: bool, true at real entries.

    Returns:
        [*mask.shape, D'], zero where `mask` is false.
    """
    rows = layers(features[mask])
    mapped = rows.new_zeros(*mask.shape, rows.shape[-1])
    mapped[mask] = rows
    return mapped


class Projection(nn.Module):
    """Linear, batch norm, ReLU, linear, and a batch norm without weights if asked for.

    Args:
        inputs: width D of the features.
        hidden: width of the hidden layer.
        outputs: width D' of the projected features.
        normalise_output: end with a batch norm.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, normalise_output: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden), RowNorm(hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        )
        if normalise_output:
            self.layers.append(RowNorm(outputs, affine=False))

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Project features [*mask.shape, D]; zero where `mask` (default: all true) is false."""
        if mask is not None:
            return map_rows(self.layers, features, mask)
        projected: Tensor = self.layers(features.flatten(0, -2))
        return projected.reshape(*features.shape[:-1], -1)
