"""PLACE as a whole: terms, edge cases, invariances, training."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods.place import Place, build
from tests.methods.reports import RAGGED, pack, pairs

IMAGE = ImageEncoderConfig(name="test_resnet", input_size=32)
TEXT = TextEncoderConfig(vocab_size=40, width=16, layers=1, heads=2, max_tokens=32, dropout=0.0)
SETTINGS: dict[str, Any] = {"width": 16, "heads": 2, "queries": 3, "correlation_width": 8, "idf_buckets": 512}


def _method(**settings: Any) -> Place:
    torch.manual_seed(0)
    return build({**SETTINGS, **settings}, IMAGE, TEXT)


def _total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize("mask_ratio", [0.0, 0.5])
def test_all_terms_are_finite_and_reach_every_weight(mask_ratio: float) -> None:
    method = _method(mask_ratio=mask_ratio)
    losses = method.losses(pairs(RAGGED), method.stages[0])
    assert losses.keys() == method.stages[0].terms.keys() == {"global", "observation", "pair", "correlation"}
    torch.autograd.backward(_total(losses))
    gradients = {name: p.grad for name, p in method.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert all(torch.isfinite(g).all() for g in gradients.values() if g is not None)
    for name in ("image_encoder", "text_encoder"):
        assert any(g is not None and g.abs().sum() > 0 for n, g in gradients.items() if n.startswith(name))


def test_every_term_teaches_the_image_encoder() -> None:
    method = _method()
    for name in method.stages[0].terms:
        method.zero_grad()
        torch.autograd.backward(method.losses(pairs(RAGGED), method.stages[0])[name])
        assert any(
            p.grad is not None and p.grad.abs().sum() > 0 for p in method.image_encoder.parameters()
        ), name


def test_features_and_scores_have_their_shapes() -> None:
    method = _method().eval()
    images, reports = method.encode_images(torch.rand(3, 1, 32, 32)), method.encode_reports(pack(RAGGED))
    assert images.global_.shape == (3, 16)
    assert images.local.shape == (3, images.grid[0] * images.grid[1], 16)
    assert reports.mask.sum(dim=1).tolist() == [2, 1, 0, 6]
    torch.testing.assert_close(reports.sentences.norm(dim=2).sum(dim=1), torch.tensor([1.0, 1.0, 0.0, 1.0]))
    scores = method.scores(images, reports)
    assert scores["global"].shape == scores["local"].shape == (3, 4)
    cosine = F.cosine_similarity(images.global_[1], reports.global_[3], dim=0)
    torch.testing.assert_close(scores["global"][1, 3], cosine)
    assert (scores["local"][:, 2] == 0).all()
    assert scores["local"].abs().max() <= 1 + 1e-6


def test_sentences_are_weighed_by_training_reports_only() -> None:
    method = _method()
    method.losses(pairs([[[5], [6]], [[5], [7]], [[5]]]), method.stages[0])
    assert method.frequency.reports.item() == 3
    method.eval()
    method.losses(pairs([[[6]], [[6]]]), method.stages[0])
    assert method.frequency.reports.item() == 3
    common, rare = method.encode_reports(pack([[[5], [6]]])).sentences[0].norm(dim=1).tolist()
    assert common < rare


def test_queries_that_no_sentence_is_nearest_to_are_counted() -> None:
    method = _method()
    batch = pairs(RAGGED)
    method.losses(batch, method.stages[0])
    images, reports = method.eval().encode_images(batch.images), method.encode_reports(batch)
    method.losses(batch, method.stages[0])
    nearest = set()
    for observations, report, mask in zip(
        method.observe(images.local), reports.sentences, reports.mask, strict=True
    ):
        for sentence in report[mask]:
            nearest.add(int(F.cosine_similarity(observations, sentence.unsqueeze(0)).argmax()))
    assert method.watched["dead_queries"].item() == 3 - len(nearest)
    method.losses(pairs([[], []]), method.stages[0])
    assert method.watched["dead_queries"].item() == 3


def test_bf16_gives_finite_float32_losses() -> None:
    method = _method()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = method.losses(pairs(RAGGED), method.stages[0])
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    torch.autograd.backward(_total(losses))
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_a_few_steps_lower_the_loss() -> None:
    method = _method()
    batch = pairs([[[5, 6], [7, 8]], [[9], [10]], [[11, 12], [13]], [[14]]])
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    totals = []
    for _ in range(8):
        total = _total(method.losses(batch, method.stages[0]))
        optimizer.zero_grad()
        torch.autograd.backward(total)
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"widht": 8}, "widht"), ({"variant": "described"}, "variant"), ({"width": 20, "heads": 8}, "heads")],
)
def test_wrong_settings_name_the_key(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError, match=f"place: {key}"):
        build(settings, IMAGE, TEXT)
    with pytest.raises(InputError, match="place: heads"):
        build({"width": 20}, IMAGE, TEXT)
