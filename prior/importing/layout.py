"""What one release's file looks like: where its image encoder is, and how that was trained."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from prior.importing.contamination import Corpus
from prior.importing.names import Rules

Shapes = Mapping[str, tuple[int, ...]]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names and facts of one release, read in its public code; `docs/import.md` lists them.

    Attributes:
        name: what `--layout` and the setting `layout` take.
        title: method and network, for messages.
        source: repository or hub page whose module names these are.
        trunk: prefix of the image encoder's weights.
        rules: from the names behind `trunk` to timm's.
        marks: weights that a file of this layout holds.
        absent: weights that it does not hold.
        channels: a weight and its number of input channels, where only that tells layouts apart.
        left_out: patterns at the start of names that belong to other parts: heads, text encoder, projections.
        stages: stages of a ResNet that were trained; where three, the fourth becomes the identity.
        size: side of the images it was trained on, in pixels.
        mean: of the grey values in [0, 1], one or three; None takes timm's for the network.
        std: standard deviation, likewise.
        trained_on: corpora; empty where the layout does not tell.
        licence: of the repository or hub page; the terms of the training data are another matter.
        note: what else a user should know.
    """

    name: str
    title: str
    source: str
    trunk: str = ""
    rules: Rules = ()
    marks: tuple[str, ...]
    absent: tuple[str, ...] = ()
    channels: tuple[str, int] | None = None
    left_out: tuple[str, ...] = ()
    stages: int = 4
    size: int = 224
    mean: tuple[float, ...] | None = (0.5,)
    std: tuple[float, ...] | None = (0.5,)
    trained_on: tuple[Corpus, ...] = ()
    licence: str = "no licence file found in its repository"
    note: str = ""

    def fits(self, shapes: Shapes) -> bool:
        """Whether a file with weights of these `shapes` has this layout."""
        if any(name not in shapes for name in self.marks) or any(name in shapes for name in self.absent):
            return False
        return self.channels is None or shapes[self.channels[0]][1] == self.channels[1]

    def leaves_out(self, name: str) -> bool:
        """Whether the weight `name` belongs to another part than the image encoder."""
        return any(re.match(pattern, name) for pattern in self.left_out)
