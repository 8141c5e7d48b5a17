"""Heat maps of phrases, of every method that reads text, and assignments to prototypes."""

from importlib import import_module

import pytest
import torch
from torch import Tensor

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.methods import METHODS, WITHOUT_TEXT
from prior.methods.base import ImageFeatures, Method, ReportFeatures
from prior.methods.gloria import Gloria
from prior.methods.local_attention import LocalAttention
from tests.methods.reports import RAGGED, pack

IMAGE = ImageEncoderConfig(name="test_resnet", output_stride=16, input_size=32)
TEXT = TextEncoderConfig(vocab_size=40, width=16, layers=1, heads=2, max_tokens=32, dropout=0.0)
WITH_TEXT = sorted(set(METHODS) - WITHOUT_TEXT)
PHRASES = [[[5, 6, 7]], [[8, 9]], [[10, 11, 12, 13]]]


def _method(name: str, **settings: object) -> Method:
    torch.manual_seed(0)
    return import_module(METHODS[name]).build(settings, IMAGE, TEXT).eval()


def _images(count: int) -> Tensor:
    return torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def _maps(method: Method, order: list[int], padding: int = 0) -> Tensor:
    images = method.encode_images(_images(3))
    maps = method.heat_maps(images, method.encode_reports(pack([PHRASES[i] for i in order], padding)))
    assert maps is not None
    return maps


@pytest.mark.parametrize("name", WITH_TEXT)
def test_maps_have_a_value_per_region_and_belong_to_their_pair(name: str) -> None:
    method = _method(name)
    maps = _maps(method, [0, 1, 2])
    assert maps.shape == (3, 4)
    assert maps.isfinite().all()
    assert (maps.amax(dim=1) > maps.amin(dim=1)).all()
    torch.testing.assert_close(_maps(method, [0, 1, 2], padding=3), maps, atol=1e-5, rtol=1e-4)
    # The first image keeps its phrase, the other two swap theirs.
    swapped = _maps(method, [0, 2, 1])
    torch.testing.assert_close(swapped[0], maps[0], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(swapped[1:], maps[1:], atol=1e-6)


@pytest.mark.parametrize("name", WITH_TEXT)
@torch.no_grad()
def test_a_map_follows_its_regions(name: str) -> None:
    method, order = _method(name), torch.tensor([2, 0, 3, 1])
    images, phrases = method.encode_images(_images(3)), method.encode_reports(pack(PHRASES))
    moved = ImageFeatures(images.global_, images.local[:, order], images.grid)
    expected, found = method.heat_maps(images, phrases), method.heat_maps(moved, phrases)
    assert expected is not None
    torch.testing.assert_close(found, expected[:, order], atol=1e-5, rtol=1e-4)


def _phrase(sentence: Tensor) -> ReportFeatures:
    one, mask = sentence.view(1, 1, -1), torch.ones(1, 1, dtype=torch.bool)
    return ReportFeatures(global_=one[:, 0], sentences=one, mask=mask, tokens=one, token_mask=mask)


def test_the_default_is_the_cosine_with_the_phrase() -> None:
    local = torch.tensor([[[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [3.0, 3.0]]])
    images = ImageFeatures(local.mean(dim=1), local, (2, 2))
    found = _method("convirt").heat_maps(images, _phrase(torch.tensor([4.0, 0.0])))
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0, -1.0, 0.5**0.5]]))


@torch.no_grad()
def test_prior_s_planted_region_wins_and_the_values_are_sigmoids() -> None:
    attention, width = LocalAttention(4), 4
    for maps in (attention.image_maps, attention.text_maps):
        maps.weight.copy_(torch.cat([torch.eye(width)] * 3))
        maps.bias.zero_()
    sentences = torch.tensor([[[0.0, 3.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0]]])
    regions = torch.tensor([[[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, -2.0, 0, 0]]])
    found = attention.maps(regions, sentences, torch.tensor([[True, False]]))
    torch.testing.assert_close(found, torch.sigmoid(torch.tensor([[0.0, 3.0, -3.0]])))
    nothing = attention.maps(regions, sentences, torch.tensor([[False, False]]))
    assert (nothing == 0).all()


@torch.no_grad()
def test_gloria_s_planted_region_wins_and_one_word_gives_a_flat_map() -> None:
    method = _method("gloria", dim=4)
    assert isinstance(method, Gloria)
    words = torch.eye(4).unsqueeze(0)[:, :3]
    regions = torch.full((1, 4, 4), 0.1)
    regions[0, 2, 1] = 6.0
    images = ImageFeatures(regions.mean(dim=1), regions, (2, 2))
    mask = torch.tensor([[True, True, False]])
    phrase = ReportFeatures(words.mean(dim=1), words[:, :1], mask[:, :1], words, mask)
    found = method.heat_maps(images, phrase)
    scale = 1 / method.settings.attention_temperature
    expected = torch.zeros(4)
    for word in range(2):
        shares = torch.stack([torch.softmax(words[0, :2] @ regions[0, r], dim=0)[word] for r in range(4)])
        expected += torch.softmax(scale * shares, dim=0) / 2
    torch.testing.assert_close(found[0], expected)
    assert found[0].argmax() == 2
    alone = ReportFeatures(words.mean(dim=1), words[:, :1], mask[:, :1], words[:, :1], mask[:, :1])
    torch.testing.assert_close(method.heat_maps(images, alone), torch.full((1, 4), 0.25))


@pytest.mark.parametrize(("name", "prototypes"), [("prior", 12), ("mgca", 12)])
@torch.no_grad()
def test_prototype_logits_have_a_row_per_sentence(name: str, prototypes: int) -> None:
    method = _method(name, prototypes=prototypes)
    tokens = pack(RAGGED)
    logits = method.prototype_logits(tokens)
    assert logits is not None
    assert logits.shape == (4, 6, prototypes)
    padded = method.prototype_logits(pack(RAGGED, padding=2))
    real = torch.arange(6) < tokens.n_sentences.unsqueeze(1)
    assert padded is not None
    torch.testing.assert_close(padded[real], logits[real], atol=1e-5, rtol=1e-4)
    empty = method.prototype_logits(pack([[], []]))
    assert empty is not None
    assert empty.shape[:2] == (2, 1)


@torch.no_grad()
def test_prior_s_assignments_make_what_its_bank_returns() -> None:
    method = _method("prior", prototypes=12)
    tokens = pack(RAGGED)
    logits, reports = method.prototype_logits(tokens), method.encode_reports(tokens)
    assert logits is not None
    mixed = logits.softmax(dim=-1) @ method.bank.prototypes
    torch.testing.assert_close(mixed[reports.mask], reports.sentences[reports.mask], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_mgca_reads_each_sentence_as_a_report() -> None:
    method = _method("mgca", prototypes=12)
    together = method.prototype_logits(pack([[[5, 6], [7, 8, 9]]]))
    alone = method.prototype_logits(pack([[[5, 6]], [[7, 8, 9]]]))
    assert together is not None
    assert alone is not None
    torch.testing.assert_close(together[0], alone[:, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(set(WITH_TEXT) - {"prior", "mgca"}))
def test_other_methods_have_no_prototypes(name: str) -> None:
    assert _method(name).prototype_logits(pack(RAGGED)) is None


def test_prior_without_its_bank_has_no_prototypes() -> None:
    assert _method("prior", epochs=(1, 0, 0)).prototype_logits(pack(RAGGED)) is None
