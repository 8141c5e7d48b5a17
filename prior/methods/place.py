"""PLACE: alignment of visual observations and sentences, and patch correlations (arXiv 2506.10573).

No code and no formula of the paper could be read. This is the variant `reconstructed`: it follows the ideas
of the abstract, and docs/methods/place.md lists every choice that the sources leave open. One stage of

    global + observation + 0.5 pair + correlation:

- global: symmetric InfoNCE of image and report;
- observation (PCMA): contrast over the batch of how well an image's observations account for a report's
  sentences, rare sentences weighing more, targets uniform over reports of identical text;
- pair: every sentence pulls the observation that a bipartite matching gives it, and is pulled by it;
- correlation (CCE): image tokens that have read the report predict how the image's patches correlate.

The setting `parts` switches terms off for ablations; what serves none of the terms left is not built.
"""

from collections.abc import Mapping
from typing import Any, cast

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
from prior.methods.identical_text import SentenceFrequency, number_texts
from prior.methods.parsing import parse_settings
from prior.methods.place_settings import WEIGHTS, PlaceSettings
from prior.methods.pooling import linear
from prior.methods.present import contrast_present, mean_of_real
from prior.methods.reading_block import ReadingBlock
from prior.methods.statistics import keep_running_statistics
from prior.objectives.correlation import correlation_loss, feature_correlations, patch_correlations
from prior.objectives.gather import gather
from prior.objectives.observations import (
    observation_contrast,
    observation_similarity,
    pair_loss,
    query_usage,
)
from prior.objectives.reconstruction import sample_patch_mask


class Place(Method):
    """PLACE as reconstructed; `losses` gives the terms listed at the head of this file.

    Reports without sentences stay out of every term but the correlation, where their special tokens are read.
    A batch of one has no negatives: its contrasts are zero.
    """

    def __init__(self, settings: PlaceSettings, image: ImageEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        width, heads, parts = settings.width, settings.heads, set(settings.parts)
        self.settings = settings
        self.observes = bool(parts & {"observation", "pair"})
        self.image_encoder = ImageEncoder(image)
        self.text_encoder = TextEncoder(text)
        channels = self.image_encoder.last_channels
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        if "global" in parts:
            self.global_projection = linear(channels, width)
        self.region_projection = linear(channels, width) if parts != {"global"} else nn.Identity()
        self.token_projection = linear(self.text_encoder.width, width)
        if "global" in parts:
            self.report_projection = linear(width, width)
        if self.observes:
            self.queries = nn.Parameter(torch.randn(settings.queries, width))
            self.extractor = nn.ModuleList(
                ReadingBlock(width, heads, self_attention=True) for _ in range(settings.blocks)
            )
        if "correlation" in parts:
            self.report_reader = ReadingBlock(width, heads, self_attention=False)
            self.correlation_projection = nn.Linear(width, settings.correlation_width)
        self.frequency = SentenceFrequency(settings.idf_buckets)
        if "global" in parts:
            self.log_scale = nn.Parameter(-torch.tensor(settings.temperature).log())
        if "observation" in parts:
            self.observation_log_scale = nn.Parameter(-torch.tensor(settings.temperature).log())
        self.stages = [
            Stage(
                name="alignment",
                epochs=1.0,
                learning_rate=settings.learning_rate,
                warmup_epochs=settings.warmup_epochs,
                terms={name: weight for name, weight in WEIGHTS.items() if name in parts},
            )
        ]

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Project the mean of the last map and each of its positions; regions that no part reads stay."""
        last = self.standardise(self.image_encoder(images)[-1].float())
        regions = self.region_projection(last.flatten(2).transpose(1, 2))
        whole = "global" in self.settings.parts
        return ImageFeatures(
            global_=self.global_projection(last.mean(dim=(2, 3))) if whole else regions.mean(dim=1),
            local=regions,
            grid=(last.shape[2], last.shape[3]),
        )

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Encode token ids; a sentence is a unit vector times its weight, and a report's weights sum to 1.

        The weights are proportional to the inverse document frequency in the reports seen in training.
        """
        features = self.token_projection(self.text_encoder(tokens.ids, tokens.mask)).float()
        means, mask = sentence_means(features, tokens.sentence, tokens.n_sentences)
        weights = self.frequency.weights(tokens).unsqueeze(2)
        mean = mean_of_real(features, tokens.mask)
        return ReportFeatures(
            global_=self.report_projection(mean) if "global" in self.settings.parts else mean,
            sentences=F.normalize(means, dim=2) * weights,
            mask=mask,
            tokens=features,
            token_mask=tokens.mask,
        )

    def observe(self, regions: Tensor) -> Tensor:
        """Read observations [B, K, D] of any length from the regions [B, R, D]."""
        observations = self.queries.expand(len(regions), -1, -1)
        for block in self.extractor:
            observations = block(observations, regions)
        return observations

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return `global`, `observation`, `pair` and `correlation`, weighted; those that are on.

        Watched is `dead_queries`, how many observations are the nearest one of no sentence of the batch.
        """
        if self.training:
            self.frequency.count(batch)
        terms = stage.terms
        images, reports = self.encode_images(batch.images), self.encode_reports(batch)
        present = reports.mask.any(dim=1)
        losses: dict[str, Tensor] = {}
        if "global" in terms:
            scale = self.log_scale.exp()
            losses["global"] = contrast_present(images.global_, reports.global_, present, scale)
        if self.observes:
            observations = self.observe(images.local)
            usage = query_usage(observations, reports.sentences, reports.mask)
            dead = (gather(usage.unsqueeze(0))[0].sum(dim=0) == 0).sum()
            self.watched = {"dead_queries": dead}
        if "observation" in terms:
            losses["observation"] = observation_contrast(
                observations,
                reports.sentences,
                _weights(reports.sentences),
                number_texts(batch),
                self.settings.maximum_temperature,
                self.observation_log_scale.exp(),
            )
        if "pair" in terms:
            losses["pair"] = pair_loss(observations, reports.sentences, reports.mask)
        if "correlation" in terms:
            losses["correlation"] = self._correlation(batch.images, images, reports)
        return {name: weight * losses[name] for name, weight in terms.items()}

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return `global`, cosine of image and report, and `local`, the similarity of its observations.

        Without the parts `observation` and `pair` there are no observations, and there is only `global`.
        """
        u, v = F.normalize(images.global_.float(), dim=-1), F.normalize(reports.global_.float(), dim=-1)
        scores = {"global": u @ v.T}
        if self.observes:
            scores["local"] = self._similarity(self.observe(images.local), reports.sentences)
        return scores

    def heat_maps(self, images: ImageFeatures, reports: ReportFeatures) -> Tensor | None:
        """Return what the observations that match the phrase read of the regions, [B, R]; None without any.

        A sentence weighs observations as its soft maximum does; their reading is that of the last block.
        """
        if not self.observes:
            return None
        observations = self.queries.expand(len(images.local), -1, -1)
        for block in self.extractor[:-1]:
            observations = block(observations, images.local)
        last = cast(ReadingBlock, self.extractor[-1])
        reading = last.attention(observations, images.local).float()
        observations = F.normalize(last(observations, images.local).float(), dim=-1)
        cosine = F.normalize(reports.sentences.float(), dim=-1) @ observations.transpose(1, 2)
        share = (cosine / self.settings.maximum_temperature).softmax(dim=2)
        return mean_of_real(share @ reading, reports.mask)

    def _similarity(self, observations: Tensor, sentences: Tensor) -> Tensor:
        temperature = self.settings.maximum_temperature
        return observation_similarity(observations, sentences, _weights(sentences), temperature)

    def _correlation(self, pixels: Tensor, images: ImageFeatures, reports: ReportFeatures) -> Tensor:
        regions = images.local
        if self.settings.mask_ratio:
            regions = self._encode_masked(pixels, images.grid)
        read = self.report_reader(regions, reports.tokens, reports.token_mask)
        predicted = feature_correlations(self.correlation_projection(read))
        return correlation_loss(predicted, patch_correlations(pixels, images.grid))

    def _encode_masked(self, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        size = (pixels.shape[2], pixels.shape[3])
        hidden = sample_patch_mask(
            len(pixels), size, -(-size[0] // grid[0]), self.settings.mask_ratio, pixels.device
        )
        # Downstream tasks see whole images: the statistics they use must not come from masked ones.
        with keep_running_statistics(self.image_encoder), keep_running_statistics(self.standardise):
            return self.encode_images(pixels.masked_fill(hidden, self.image_encoder.config.mean)).local


def _weights(sentences: Tensor) -> Tensor:
    return sentences.detach().norm(dim=2)


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Place:
    """Build PLACE from `settings` (see `PlaceSettings`); raise InputError for a setting that is wrong."""
    return Place(parse_settings(PlaceSettings, settings, "place"), image, text)
