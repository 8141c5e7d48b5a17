"""Sentence-wise prototype bank (SPB): a plain embedding table read by Gumbel-softmax."""

import torch
from torch import Tensor, nn

from prior.objectives.gather import gather, take_first
from prior.objectives.prototypes import mix_prototypes, prototype_logits


class PrototypeBank(nn.Module):
    """Replace a sentence by a soft mixture of learnt prototypes.

    Attributes:
        prototypes: the table, [K, D].
        started: whether the table has its starting values; a buffer, so that a resumed training knows.

    Args:
        prototypes: number of prototypes K.
        width: feature width D.
        temperature: softmax temperature.
        from_sentences: wait for `start` to take the starting values from sentences; else they are normal
            noise, as in the paper's code, which a training of few steps cannot move to where sentences are.
    """

    started: Tensor

    def __init__(self, prototypes: int, width: int, temperature: float, from_sentences: bool) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(prototypes, width))
        self.temperature = temperature
        self.register_buffer("started", torch.tensor(not from_sentences))

    @torch.no_grad()
    def start(self, sentences: Tensor) -> None:
        """Take the starting values from `sentences` [N, D], in random order and repeated to K; only once."""
        if self.started:
            return
        sentences, _ = gather(sentences)
        if not len(sentences):
            return
        order = torch.randperm(len(sentences), device=sentences.device)
        index = torch.arange(len(self.prototypes), device=sentences.device) % len(sentences)
        self.prototypes.copy_(sentences[order[index]])
        take_first(self.prototypes)
        self.started.fill_(True)

    def logits(self, features: Tensor) -> Tensor:
        """Return the affinity of features [..., D] to the prototypes, [..., K]."""
        return prototype_logits(features, self.prototypes)

    def forward(self, features: Tensor) -> Tensor:
        """Return the mixtures [..., D] of features [..., D]; Gumbel noise in training, none at inference."""
        return mix_prototypes(self.logits(features), self.prototypes, self.temperature, noise=self.training)
