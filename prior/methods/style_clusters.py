"""A Gaussian style code, and the prototypes that a decoded sample of it is assigned to."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prior.objectives.gather import draw_rows
from prior.objectives.prototypes import prototype_logits


@dataclass
class StyleAssignment:
    """Style of a batch.

    Attributes:
        mean: of the code, [B, D / 4].
        log_variance: of the code, [B, D / 4].
        logits: affinity of the decoded sample to the prototypes, [B, K].
    """

    mean: Tensor
    log_variance: Tensor
    logits: Tensor


class StyleClusters(nn.Module):
    """Shared by both modalities: perceptron D -> D/2 -> D/4 to the code, its mirror image back, prototypes.

    Attributes:
        prototypes: [K, D], without bias, orthogonal at the start (orthonormal columns if K exceeds D).

    Args:
        width: feature width D, at least 4.
        prototypes: number of prototypes K.
    """

    def __init__(self, width: int, prototypes: int) -> None:
        super().__init__()
        hidden, code = width // 2, width // 4
        self.encoder = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2 * code))
        self.decoder = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.prototypes = nn.Parameter(nn.init.orthogonal_(torch.empty(prototypes, width)))

    def forward(self, features: Tensor) -> StyleAssignment:
        """Assign features [B, D]; the code is sampled in training and its mean is taken at inference."""
        mean, log_variance = self.encoder(features).float().chunk(2, dim=1)
        noise, size = torch.zeros_like(mean), mean.shape[1]
        if self.training:
            noise = draw_rows(
                lambda rows: torch.randn(rows, size, device=mean.device), len(mean), mean.device
            )
        decoded = self.decoder(mean + noise * (0.5 * log_variance).exp())
        return StyleAssignment(mean, log_variance, prototype_logits(decoded, self.prototypes))
