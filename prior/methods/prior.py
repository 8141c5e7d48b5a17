"""PRIOR: prototype representation joint learning from medical images and reports (arXiv 2307.12577).

Three stages, each with its own optimiser and schedule; weights in front of the terms:

1. global + local_image + local_text on the sentence embeddings themselves;
2. the same on the outputs of the sentence-wise prototype bank (SPB) + 10 prototype;
3. 10 global + local_image + local_text + 10 prototype + reconstruction + 10 generation + divergence
   + global_prediction.

This is the variant `described`: regions are regions, slots are matched by the inverse assignment, slots
without a sentence stay out of the losses, targets are detached, there is no noise at inference, and patches
of the image are masked before it is encoded. `prior_released.py` holds what the public code does instead.
The defaults fit a laptop; `PriorSettings` lists the paper's. Its `parts` switch terms off for ablations.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.encoders.image import ImageEncoder, ImageEncoderConfig
from prior.encoders.text import TextEncoder, TextEncoderConfig
from prior.methods.base import (
    Batch,
    ImageFeatures,
    Method,
    ReportFeatures,
    ReportTokens,
    Stage,
    sentence_means,
)
from prior.methods.decoders import ImageDecoder, ReportDecoder, upsamplings_for
from prior.methods.local_attention import LocalAttention
from prior.methods.parsing import parse_settings
from prior.methods.pooling import AttentionPool, linear
from prior.methods.prior_settings import PriorSettings
from prior.methods.prototype_bank import PrototypeBank
from prior.methods.statistics import keep_running_statistics
from prior.objectives.contrastive import symmetric_info_nce
from prior.objectives.generation import gather_matched_slots, generation_loss
from prior.objectives.local import local_image_loss, local_text_loss
from prior.objectives.prototypes import assignment_divergence, prototype_loss
from prior.objectives.reconstruction import reconstruction_loss, sample_patch_mask


class Prior(Method):
    """PRIOR as the paper describes it; `losses` gives the terms listed at the head of this file.

    Reports without sentences stay out of every term but the reconstruction. A report with more sentences than
    slots is generated as far as the slots reach. A batch of one has no negatives: its contrasts are zero.

    Args:
        settings: sizes, temperatures and schedules.
        image: image encoder.
        text: text encoder.
    """

    def __init__(self, settings: PriorSettings, image: ImageEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        width, parts = settings.width, set(settings.parts)
        self.settings = settings
        self.stages = settings.stages()
        self.image_encoder = ImageEncoder(image)
        self.text_encoder = TextEncoder(text)
        channels = self.image_encoder.last_channels
        # From scratch, all images start with nearly the same features; centring them lets the contrast begin.
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        side = -(-image.input_size // self.image_encoder.strides[-1])
        self.image_pool = AttentionPool(channels, settings.heads, entries=side * side)
        self.global_projection = linear(channels, width)
        regions_are_read = parts & {"local", "image_reconstruction", "report_reconstruction"}
        self.region_projection = linear(channels, width) if regions_are_read else nn.Identity()
        self.token_projection = linear(self.text_encoder.width, width)
        self.sentence_pool = AttentionPool(width, settings.heads)
        if "local" in parts:
            self.predictor = nn.Sequential(
                nn.Linear(width, width // 2), nn.ReLU(inplace=True), nn.Linear(width // 2, width)
            )
        if parts & {"local", "image_reconstruction"}:
            self.local_attention = LocalAttention(width)
        if "bank" in parts:
            self.bank = PrototypeBank(
                settings.prototypes,
                width,
                settings.prototype_temperature,
                from_sentences=settings.prototype_start == "sentences",
            )
        if "image_reconstruction" in parts:
            self.image_decoder = ImageDecoder(
                width, settings.image_decoder_channels, upsamplings_for(self.image_encoder.strides[-1])
            )
        if "report_reconstruction" in parts:
            self.report_decoder = ReportDecoder(
                width, settings.slots, settings.report_decoder_layers, settings.heads
            )
        self.log_scale = nn.Parameter(-torch.tensor(settings.temperature).log())
        if "local" in parts:
            self.local_log_scale = nn.Parameter(-torch.tensor(settings.local_temperature).log())

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Encode images [B, 1, H, W]; see `Method`. Regions that no part reads are not projected."""
        last = self.standardise(self.image_encoder(images)[-1].float())
        return ImageFeatures(
            global_=self.global_projection(self.image_pool(last.flatten(2).transpose(1, 2))),
            local=self.region_projection(self._read_regions(last)),
            grid=(last.shape[2], last.shape[3]),
        )

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Encode token ids; the sentences are bank outputs if the last stage of training uses the bank."""
        raw = self._encode_tokens(tokens)
        quantised = "prototype" in self.stages[-1].terms
        return self._pool_report(raw, self._quantise(raw.sentences) if quantised else raw.sentences)

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return the terms of `stage`, weighted; see the head of this file."""
        terms = stage.terms
        images = self.encode_images(batch.images)
        raw = self._encode_tokens(batch)
        quantised = raw.sentences
        if "bank" in self.settings.parts:
            self.bank.follow(raw.sentences[raw.mask], last="prototype" in terms)
        if "prototype" in terms:
            quantised = self._quantise(raw.sentences)
        reports = self._pool_report(raw, quantised)
        losses = {"global": self._contrast(images.global_, reports.global_, reports.mask.any(dim=1))}
        if "local_image" in terms:
            losses |= self._local_terms(images, reports)
        if "prototype" in terms:
            losses["prototype"] = prototype_loss(quantised, raw.sentences, raw.mask)
        if "reconstruction" in terms:
            losses["reconstruction"] = self._reconstruction_term(batch.images, images, reports)
        if "generation" in terms:
            losses |= self._generation_terms(images, raw.sentences, reports)
        return {name: weight * losses[name] for name, weight in terms.items()}

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return `global`, cosine of image and report, and `local`, the mean attention of its sentences.

        Without the part `local` nothing teaches that attention, and there is only `global`.
        """
        u = F.normalize(images.global_.float(), dim=-1)
        scores = {"global": u @ F.normalize(reports.global_.float(), dim=-1).T}
        if "local" in self.settings.parts:
            scores["local"] = self.local_attention.scores(images.local, reports.sentences, reports.mask)
        return scores

    def heat_maps(self, images: ImageFeatures, reports: ReportFeatures) -> Tensor | None:
        """Return the sigmoid attention of the phrase's sentences to the regions, [B, R].

        None without the part `local`.
        """
        if "local" not in self.settings.parts:
            return None
        return self.local_attention.maps(images.local, reports.sentences, reports.mask)

    def prototype_logits(self, tokens: ReportTokens) -> Tensor | None:
        """Return the bank's logits over its temperature; None if the last stage of training has no bank."""
        if "prototype" not in self.stages[-1].terms:
            return None
        return self.bank.logits(self._encode_tokens(tokens).sentences) / self.bank.temperature

    def _read_regions(self, last: Tensor) -> Tensor:
        """Turn the last map [B, C, h, w] into regions [B, R, C]."""
        return last.flatten(2).transpose(1, 2)

    def _quantise(self, sentences: Tensor) -> Tensor:
        """Replace sentences [B, S, D] by their mixtures of prototypes; without a bank they stay."""
        return self.bank(sentences) if "bank" in self.settings.parts else sentences

    def _encode_tokens(self, tokens: ReportTokens) -> ReportFeatures:
        features = self.token_projection(self.text_encoder(tokens.ids, tokens.mask))
        sentences, mask = sentence_means(features, tokens.sentence, tokens.n_sentences)
        empty = features.new_zeros(features.shape[0], features.shape[2])
        return ReportFeatures(
            global_=empty, sentences=sentences, mask=mask, tokens=features, token_mask=tokens.mask
        )

    def _pool_report(self, raw: ReportFeatures, sentences: Tensor) -> ReportFeatures:
        return ReportFeatures(
            global_=self._pool_sentences(sentences, raw.mask),
            sentences=sentences.masked_fill(~raw.mask.unsqueeze(2), 0.0),
            mask=raw.mask,
            tokens=raw.tokens,
            token_mask=raw.token_mask,
        )

    def _pool_sentences(self, sentences: Tensor, mask: Tensor) -> Tensor:
        pooled: Tensor = self.sentence_pool(sentences.masked_fill(~mask.unsqueeze(2), 0.0), mask)
        return pooled

    def _local_terms(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        contexts = self.local_attention(images.local, reports.sentences, reports.mask)
        return {
            "local_image": local_image_loss(
                images.local,
                contexts.of_regions,
                self.predictor(images.local),
                self.predictor(contexts.of_regions),
                reports.mask.any(dim=1),
            ),
            "local_text": local_text_loss(
                reports.sentences, contexts.of_sentences, reports.mask, self.local_log_scale.exp()
            ),
        }

    def _contrast(self, left: Tensor, right: Tensor, present: Tensor) -> Tensor:
        return symmetric_info_nce(left[present], right[present], self.log_scale.exp())

    def _reconstruction_term(self, pixels: Tensor, images: ImageFeatures, reports: ReportFeatures) -> Tensor:
        """Reconstruct images from masked ones and their reports; `images`, the whole ones, are not read."""
        size = (pixels.shape[2], pixels.shape[3])
        settings, config = self.settings, self.image_encoder.config
        hidden = sample_patch_mask(len(pixels), size, settings.mask_patch, settings.mask_ratio, pixels.device)
        # Downstream tasks see whole images: the statistics they use must not come from masked ones.
        with keep_running_statistics(self.image_encoder), keep_running_statistics(self.standardise):
            last = self.standardise(self.image_encoder(pixels.masked_fill(hidden, config.mean))[-1].float())
        regions = self.region_projection(self._read_regions(last))
        contexts = self.local_attention(regions, reports.sentences, reports.mask).of_regions
        reconstruction = self.image_decoder(regions, contexts, (last.shape[2], last.shape[3]), size)
        return reconstruction_loss(reconstruction, (pixels - config.mean) / config.std)

    def _generation_terms(
        self, images: ImageFeatures, sentences: Tensor, reports: ReportFeatures
    ) -> dict[str, Tensor]:
        slots, matched = gather_matched_slots(
            self.report_decoder(images.local), reports.sentences, reports.mask
        )
        generated = self._pool_sentences(self._quantise(slots), matched)
        losses = {
            "generation": generation_loss(slots, reports.sentences, matched),
            "global_prediction": self._contrast(generated, reports.global_, matched.any(dim=1)),
        }
        if "bank" in self.settings.parts:
            logits, generated_logits = self.bank.logits(sentences), self.bank.logits(slots)
            losses["divergence"] = assignment_divergence(logits, generated_logits, matched)
        return losses


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Prior:
    """Build PRIOR from `settings` (see `PriorSettings`); raise InputError for a setting that is wrong."""
    # Imported here, because the released variant derives from the class above.
    from prior.methods.prior_released import ReleasedPrior

    parsed = parse_settings(PriorSettings, settings, "prior")
    method = ReleasedPrior if parsed.variant == "released" else Prior
    return method(parsed, image, text)
