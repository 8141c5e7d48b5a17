"""Sentence-wise prototype bank (SPB): a plain embedding table read by Gumbel-softmax."""

import torch
from torch import Tensor, nn

from prior.objectives.gather import gather
from prior.objectives.prototypes import mix_prototypes, prototype_logits


class PrototypeBank(nn.Module):
    """Replace a sentence by a soft mixture of learnt prototypes.

    Attributes:
        prototypes: the table, [K, D].
        started: whether the table has been used, after which only training changes it; a buffer, so that a
            resumed training knows.

    Args:
        prototypes: number of prototypes K.
        width: feature width D.
        temperature: softmax temperature.
        from_sentences: `follow` sentences until the table is used; else it starts as normal noise, as in the
            paper's code, which a training of few steps cannot move to where sentences are. One batch would
            not do: it lacks the rare sentences, and these would be mistaken for their frequent neighbours.
    """

    started: Tensor

    def __init__(self, prototypes: int, width: int, temperature: float, from_sentences: bool) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(prototypes, width))
        self.temperature = temperature
        self.register_buffer("started", torch.tensor(not from_sentences))

    @torch.no_grad()
    def follow(self, sentences: Tensor, last: bool) -> None:
        """Hold the latest K `sentences` [N, D] of all calls; `last` says that the table is used now."""
        if self.started:
            return
        self.prototypes.copy_(
            torch.cat([gather(sentences)[0].float(), self.prototypes])[: len(self.prototypes)]
        )
        self.started.fill_(last)

    def logits(self, features: Tensor) -> Tensor:
        """Return the affinity of features [..., D] to the prototypes, [..., K]."""
        return prototype_logits(features, self.prototypes)

    def forward(self, features: Tensor) -> Tensor:
        """Return the mixtures [..., D] of features [..., D]; Gumbel noise in training, none at inference."""
        return mix_prototypes(self.logits(features), self.prototypes, self.temperature, noise=self.training)
