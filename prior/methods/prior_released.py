"""PRIOR's variant `released`: what the public code computes where it departs from the described method.

The pieces below replace those of `Prior`; everything else, the initial weights included, is shared. The codes
D1 to D18 are explained in docs/methods/prior.md, with what is not reproduced.
Source: github.com/QtacierP/PRIOR, commit 086bf2e.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from prior.methods.base import Batch, ImageFeatures, ReportFeatures, Stage
from prior.methods.prior import Prior
from prior.objectives.masking import masked_mean
from prior.objectives.matching import match
from prior.objectives.prototypes import mix_prototypes
from prior.objectives.reconstruction import reconstruction_loss


class ReleasedPrior(Prior):
    """PRIOR with the defects of its release.

    The release has no reports without sentences; here they stay out of the terms as in `Prior`.
    """

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return the terms of `stage`; where slots are generated, a report ends at as many sentences."""
        if "generation" in stage.terms:
            batch = replace(batch, n_sentences=batch.n_sentences.clamp(max=self.settings.slots))
        return super().losses(batch, stage)

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return the scores of `Prior`, `global` times the logarithm of the scale, not the scale (D7)."""
        scores = super().scores(images, reports)
        return {**scores, "global": self.log_scale * scores["global"]}

    def _read_regions(self, last: Tensor) -> Tensor:
        return misread_map(last)

    def _quantise(self, sentences: Tensor) -> Tensor:
        """Mix prototypes with Gumbel noise in training and at inference (D6).

        At inference the noise has a fixed seed, so that a result can be had again; it still depends on the
        place of a sentence in its batch.
        """
        if self.training or "bank" not in self.settings.parts:
            return super()._quantise(sentences)
        logits = self.bank.logits(sentences)
        generator = torch.Generator(logits.device).manual_seed(0)
        noise = -torch.empty_like(logits).exponential_(generator=generator).log()
        return mix_prototypes(
            logits + noise, self.bank.prototypes, self.settings.prototype_temperature, noise=False
        )

    def _reconstruction_term(self, pixels: Tensor, images: ImageFeatures, reports: ReportFeatures) -> Tensor:
        """Reconstruct images from their own tokens, of which dropout hides channels (D15, D3)."""
        config = self.image_encoder.config
        contexts = self.local_attention(images.local, reports.sentences, reports.mask).of_regions
        channels = F.dropout1d(misread_tokens(images.local), self.settings.mask_ratio, self.training)
        size = (pixels.shape[2], pixels.shape[3])
        reconstruction = self.image_decoder(
            channels.transpose(1, 2), misread_tokens(contexts).transpose(1, 2), images.grid, size
        )
        return reconstruction_loss(reconstruction, (pixels - config.mean) / config.std)

    def _generation_terms(
        self, images: ImageFeatures, sentences: Tensor, reports: ReportFeatures
    ) -> dict[str, Tensor]:
        """Compare slots that the assignment has brought into a wrong order (D2) with moving targets (D18)."""
        mask, present = reports.mask, reports.mask.any(dim=1)
        slots = self.report_decoder(images.local, unread_after(self.settings.slots, mask.device))
        targets = F.pad(reports.sentences, (0, 0, 0, self.settings.slots - mask.shape[1]))
        slots = rearrange_slots(slots, targets)
        generated = slots[:, : mask.shape[1]]
        losses = {
            "generation": slot_loss(slots, targets, present),
            "global_prediction": self._contrast(
                self._pool_sentences(self._quantise(generated), mask), reports.global_, present
            ),
        }
        if "bank" in self.settings.parts:
            logits, generated_logits = self.bank.logits(sentences), self.bank.logits(generated)
            losses["divergence"] = moving_divergence(logits, generated_logits, mask)
        return losses


def misread_map(last: Tensor) -> Tensor:
    """Read a map [B, C, h, w] as tokens [B, h * w, C] without moving its axes (D1).

    A token holds runs of single channels over all positions, one after the other; it is no region.
    """
    return last.reshape(len(last), -1, last.shape[1])


def misread_tokens(tokens: Tensor) -> Tensor:
    """Read tokens [B, R, D] as channels [B, D, R] without moving the axes (D3)."""
    return tokens.reshape(len(tokens), tokens.shape[2], tokens.shape[1])


def unread_after(slots: int, device: torch.device) -> Tensor:
    """Return the causal mask [K, K] of the slots, true where one may not read another (D4)."""
    return torch.ones(slots, slots, dtype=torch.bool, device=device).triu(diagonal=1)


def rearrange_slots(slots: Tensor, targets: Tensor) -> Tensor:
    """Put slot c(k) at place k, where c(k) is the target that slot k is assigned to (D2).

    The described method puts it at place c(k), beside its target. Zero targets tie, and which of the equally
    cheap assignments is taken changes the result.

    Args:
        slots: generated features, [B, K, D].
        targets: bank outputs of the true sentences, zero beyond the last, [B, K, D].

    Returns:
        [B, K, D].
    """
    with torch.no_grad(), torch.autocast(slots.device.type, enabled=False):
        cost = torch.cdist(slots.float(), targets.float(), p=1.0)
        target = match(cost, cost.new_ones(cost.shape[:2], dtype=torch.bool))
    return slots.gather(1, target.unsqueeze(2).expand_as(slots))


def slot_loss(slots: Tensor, targets: Tensor, present: Tensor) -> Tensor:
    """L_SPG = mean |slot - target| over all slots, with or without a sentence (D5), nothing detached (D18).

    Args:
        slots: [B, K, D].
        targets: [B, K, D].
        present: [B] bool, true where the report has a sentence.

    Returns:
        Scalar.
    """
    return masked_mean((slots.float() - targets.float()).abs(), present)


def moving_divergence(logits: Tensor, generated_logits: Tensor, mask: Tensor) -> Tensor:
    """L_KL as in `assignment_divergence`, but with gradients to the true side as well (D18).

    Args:
        logits: prototype logits of the true sentences, [B, S, P].
        generated_logits: those of the slots in their places, [B, S, P].
        mask: [B, S] bool.

    Returns:
        Scalar in nats.
    """
    target = logits.float().log_softmax(dim=-1)
    divergence = target.exp() * (target - generated_logits.float().log_softmax(dim=-1))
    return masked_mean(divergence.sum(dim=-1), mask)
