"""Every registered method with tiny encoders, and batches that suit all of them."""

from importlib import import_module

import torch

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.methods import METHODS, WITHOUT_TEXT
from prior.methods.base import Batch, Method
from tests.methods.reports import Reports, pairs

IMAGE = ImageEncoderConfig(name="test_resnet", input_size=32)
TEXT = TextEncoderConfig(vocab_size=40, width=16, layers=1, heads=2, max_tokens=32, dropout=0.0)
READERS = sorted(set(METHODS) - WITHOUT_TEXT)
TRAINED = sorted(set(METHODS) - {"random", "imagenet", "imported"})
SETTINGS = {
    "supervised": {"findings": ["edema", "mass"]},
    "prior": {"width": 16, "heads": 2, "prototypes": 12, "slots": 4, "image_decoder_channels": 8},
    "place": {"heads": 2},
}


def build(name: str, image: ImageEncoderConfig = IMAGE, text: TextEncoderConfig = TEXT, **settings) -> Method:
    """An untrained method, always the same one."""
    torch.manual_seed(0)
    return import_module(METHODS[name]).build({**SETTINGS.get(name, {}), **settings}, image, text)


def batch(reports: Reports, padding: int = 0) -> Batch:
    """Reports with an image, a second view and two labels each, some not known."""
    made = pairs(reports, padding)
    made.second_view = made.images.flip(3)
    labels = torch.arange(2.0 * len(reports)).view(-1, 2) % 3
    made.labels = labels.masked_fill(labels == 2, torch.nan)
    return made


def rows(whole: Batch, chosen) -> Batch:
    """The pairs `chosen` (a slice or indices) of a batch, with its padding."""
    return Batch(**{name: tensor[chosen] for name, tensor in whole.tensors().items()})
