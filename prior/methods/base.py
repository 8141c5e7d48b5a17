"""What a pre-training method is: encoders, features with names, stages and named losses."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.encoders.image import ImageEncoder


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training with its own optimiser, schedule and weighted terms.

    Attributes:
        name: name shown in `training.csv`.
        epochs: the stage's own length; the loop scales all stages of a method to the experiment's total.
        learning_rate: peak of the schedule.
        warmup_epochs: length of the linear warm-up, on the scale of `epochs`.
        warmup_from: learning rate at the first step of the warm-up.
        terms: weight of every loss term that is on in this stage.
    """

    name: str
    epochs: float
    learning_rate: float
    warmup_epochs: float = 0.0
    warmup_from: float = 0.0
    terms: Mapping[str, float]


@dataclass(kw_only=True)
class ReportTokens:
    """Token ids of a batch of reports (or prompts), padded to the longest.

    Attributes:
        ids: [B, L] int64.
        mask: [B, L] bool, true at real tokens (special tokens included).
        sentence: [B, L] int64, index of the sentence a token belongs to; -1 for special tokens and padding.
        n_sentences: [B] int64.
    """

    ids: Tensor
    mask: Tensor
    sentence: Tensor
    n_sentences: Tensor

    def to(self, device: torch.device) -> Self:
        """Return the same batch with every tensor on `device`."""
        return type(self)(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by field name, those that are there."""
        every = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: tensor for name, tensor in every.items() if tensor is not None}


@dataclass(kw_only=True)
class Batch(ReportTokens):
    """Image–report pairs: row i of `images` belongs to row i of the token tensors.

    Attributes:
        images: [B, 1, H, W] float in [0, 1].
        second_view: another augmentation of the same images, like `images`; for methods that need it.
        labels: [B, F] float, the method's findings: 1 present, 0 absent, NaN to be left out; for methods that
            need them.
    """

    images: Tensor
    second_view: Tensor | None = None
    labels: Tensor | None = None


@dataclass
class ImageFeatures:
    """Projected image features.

    Attributes:
        global_: [B, D].
        local: [B, R, D], region r = row * width + column of the grid.
        grid: (height, width) with height * width = R.
    """

    global_: Tensor
    local: Tensor
    grid: tuple[int, int]


@dataclass
class ReportFeatures:
    """Projected report features.

    Attributes:
        global_: [B, D].
        sentences: [B, S, D], zero where `mask` is false.
        mask: [B, S] bool, true at real sentences.
        tokens: [B, L, D].
        token_mask: [B, L] bool, true at real tokens.
    """

    global_: Tensor
    sentences: Tensor
    mask: Tensor
    tokens: Tensor
    token_mask: Tensor


class Method(nn.Module, ABC):
    """A pre-training method.

    The random numbers of a step (Gumbel noise, masks, sampled sentences) come from torch's global generators,
    which the training loop seeds, stores and restores.

    Attributes:
        image_encoder: the network that the downstream tasks receive.
        stages: in order of training; empty where nothing is trained.
        needs: fields of `Batch` that are filled for this method only.
        findings: label columns that a method with the need `labels` learns from.
        weights: image weights to start from, as `ImageEncoderConfig.pretrained`, where they are not those
            that all methods start from.
        epoch: of the training, from 0 and through all stages; the loop sets it.
        watched: what the latest call of `losses` found beside its terms, scalars by name; logged with them
            and no part of the loss.
    """

    needs: ClassVar[frozenset[Literal["second_view", "labels"]]] = frozenset()
    findings: Sequence[str] = ()
    weights: str | None = None
    epoch: int = 0
    watched: Mapping[str, Tensor] = MappingProxyType({})
    image_encoder: ImageEncoder
    stages: Sequence[Stage]

    @abstractmethod
    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Encode images [B, 1, H, W] in [0, 1]."""

    @abstractmethod
    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Encode token ids; a `Batch` will do."""

    @abstractmethod
    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return the named, already weighted scalar terms of `stage`; the training loss is their sum."""

    @abstractmethod
    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return similarities [B_images, B_reports]: `global`, and `local` where the method has one."""

    def heat_maps(self, images: ImageFeatures, reports: ReportFeatures) -> Tensor | None:
        """Return how strongly each region of image i relates to phrase i, [B, R]; higher means more.

        Only differences within one map count: the task scales every map by itself. This default is the
        cosine of each region with the phrase's global embedding, right where both lie in one space. Methods
        with a local attention return that, averaged over the phrase's words or sentences; a method whose
        regions and phrases share no space returns None.

        Args:
            images: features of B images.
            reports: features of B phrases, phrase i belonging to image i.
        """
        regions, phrases = F.normalize(images.local.float(), dim=-1), reports.global_.float()
        return torch.einsum("brd,bd->br", regions, F.normalize(phrases, dim=-1))

    def prototype_logits(self, tokens: ReportTokens) -> Tensor | None:
        """Return logits [B, S, K] of each sentence's assignment to K prototypes; None if there are none.

        Their softmax is the assignment at inference, without noise. S is at least 1 and the largest sentence
        count; what stands at slots without a sentence has no meaning.

        Args:
            tokens: B reports.
        """
        return None


def sentence_means(tokens: Tensor, sentence: Tensor, n_sentences: Tensor) -> tuple[Tensor, Tensor]:
    """Average the token features of every sentence.

    Args:
        tokens: [B, L, D].
        sentence: [B, L], sentence index of each token, -1 for special tokens and padding.
        n_sentences: [B].

    Returns:
        Means [B, S, D] (zero at empty slots) and mask [B, S], with S = max(1, largest sentence count).
    """
    slots = max(1, int(n_sentences.max()))
    index = torch.arange(slots, device=sentence.device)
    member = (sentence.unsqueeze(1) == index.view(1, -1, 1)).to(tokens.dtype)
    count = member.sum(dim=2, keepdim=True)
    mask = count.squeeze(2) > 0
    return member @ tokens / count.clamp(min=1), mask
