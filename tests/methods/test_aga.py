"""AGA as a whole: terms, edge cases, invariances, training."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods import aga
from prior.methods.aga import Aga, build
from prior.objectives.adaptive_groups import collect_groups
from tests.methods.reports import RAGGED, pack, pairs

IMAGE = ImageEncoderConfig(name="test_resnet", input_size=32)
TEXT = TextEncoderConfig(vocab_size=40, width=16, layers=1, heads=2, max_tokens=32, dropout=0.0)


def _method(**settings: Any) -> Aga:
    torch.manual_seed(0)
    method = build({"width": 16, **settings}, IMAGE, TEXT)
    assert isinstance(method, Aga)
    return method


def _total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def test_all_terms_are_finite_and_reach_every_weight() -> None:
    method = _method()
    losses = method.losses(pairs(RAGGED), method.stages[0])
    names = {"global", "token_groups", "region_groups", "group_contrast"}
    assert losses.keys() == method.stages[0].terms.keys() == names
    torch.autograd.backward(_total(losses))
    gradients = {name: p.grad for name, p in method.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert all(torch.isfinite(g).all() for g in gradients.values() if g is not None)
    for name in ("image_encoder", "text_encoder", "token_gate.2", "region_gate.2"):
        assert any(g is not None and g.abs().sum() > 0 for n, g in gradients.items() if n.startswith(name)), (
            name
        )


def test_every_term_teaches_both_encoders() -> None:
    method = _method()
    for name in method.stages[0].terms:
        method.zero_grad()
        torch.autograd.backward(method.losses(pairs(RAGGED), method.stages[0])[name])
        for encoder in (method.image_encoder, method.text_encoder):
            assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters()), name


def test_the_gates_start_at_one_half() -> None:
    method = _method()
    assert (torch.sigmoid(method.token_gate(torch.randn(5, 16))) == 0.5).all()
    assert (torch.sigmoid(method.region_gate(torch.randn(5, 16))) == 0.5).all()


def test_special_tokens_are_no_words() -> None:
    reports = _method().eval().encode_reports(pack(RAGGED))
    assert reports.token_mask.sum(dim=1).tolist() == [sum(map(len, report)) for report in RAGGED]


@pytest.mark.parametrize("block", [1, 1 << 24])
def test_scores_equal_a_loop_over_the_pairs(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(aga, "_BLOCK_ENTRIES", block)
    method = _method().eval()
    images, reports = method.encode_images(torch.rand(3, 1, 32, 32)), method.encode_reports(pack(RAGGED))
    scores = method.scores(images, reports)
    cosine = F.cosine_similarity(images.global_[1], reports.global_[3], dim=0)
    torch.testing.assert_close(scores["global"][1, 3], cosine)
    for i in range(3):
        for c in range(4):
            words = reports.tokens[c][reports.token_mask[c]].unsqueeze(0)
            groups = collect_groups(words, images.local[i : i + 1], torch.full(words.shape[:2], 0.5))
            own = (F.normalize(words, dim=2) * groups).sum(dim=2)
            expected = own.mean() if own.numel() else torch.zeros(())
            torch.testing.assert_close(scores["local"][i, c], expected)


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
    [
        ({"widht": 8}, "widht"),
        ({"variant": "described"}, "variant"),
        ({"gate_temperature": 0}, "gate_temperature"),
    ],
)
def test_wrong_settings_name_the_key(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError, match=f"aga: {key}"):
        build(settings, IMAGE, TEXT)
