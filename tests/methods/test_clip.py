"""CLIP on whole reports: terms, temperature, edge cases, training."""

import pytest
import torch
from torch import Tensor

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods.base import Batch, Method, ReportTokens
from prior.methods.clip import build
from prior.objectives.contrastive import info_nce

CLS, SEP = 2, 3
RAGGED = [[[5, 6], [7]], [[8, 9, 10]], [], [[11], [12, 13], [14]]]


def _reports(reports: list[list[list[int]]], padding: int = 0) -> ReportTokens:
    rows = [[CLS, *(t for s in r for t in s), SEP] for r in reports]
    owners = [[-1, *(i for i, s in enumerate(r) for _ in s), -1] for r in reports]
    length = max(map(len, rows)) + padding
    return ReportTokens(
        ids=torch.tensor([row + [0] * (length - len(row)) for row in rows]),
        mask=torch.tensor([[k < len(row) for k in range(length)] for row in rows]),
        sentence=torch.tensor([owner + [-1] * (length - len(owner)) for owner in owners]),
        n_sentences=torch.tensor([len(r) for r in reports]),
    )


def _batch(reports: list[list[list[int]]], padding: int = 0) -> Batch:
    images = torch.rand(len(reports), 1, 32, 32, generator=torch.Generator().manual_seed(0))
    return Batch(images=images, **_reports(reports, padding).tensors())


def _method(**settings: object) -> Method:
    torch.manual_seed(0)
    image = ImageEncoderConfig(name="test_resnet", input_size=32)
    text = TextEncoderConfig(vocab_size=20, width=16, layers=1, heads=2, max_tokens=16, dropout=0.0)
    return build({"dim": 8, **settings}, image, text)


def _total(method: Method, batch: Batch) -> Tensor:
    return sum(method.losses(batch, method.stages[0]).values(), torch.zeros(()))


def test_every_parameter_learns_from_finite_named_terms() -> None:
    method = _method()
    terms = method.losses(_batch(RAGGED), method.stages[0])
    assert terms.keys() == method.stages[0].terms.keys() == {"image_to_report", "report_to_image"}
    torch.autograd.backward(sum(terms.values(), torch.zeros(())))
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for encoder in (method.image_encoder, method.text_encoder):
        assert any((p.grad != 0).any() for p in encoder.parameters())


def test_losses_are_the_weighted_contrast_of_whole_reports() -> None:
    method = _method(image_weight=0.75, temperature=0.2).eval()
    batch = _batch(RAGGED)
    terms = method.losses(batch, method.stages[0])
    images, reports = method.encode_images(batch.images).global_, method.encode_reports(batch).global_
    torch.testing.assert_close(terms["image_to_report"], 0.75 * info_nce(images, reports, 5.0))
    torch.testing.assert_close(terms["report_to_image"], 0.25 * info_nce(reports, images, 5.0))


def test_a_report_is_read_in_one_pass_and_pooled_by_its_maximum() -> None:
    method = _method().eval()
    reports = _reports(RAGGED)
    features = method.encode_reports(reports)
    tokens = method.text_encoder(reports.ids, reports.mask)
    torch.testing.assert_close(features.global_[0], method.text_projection(tokens[0, :5].amax(dim=0)))
    assert features.mask.sum(dim=1).tolist() == [2, 1, 0, 3]
    torch.testing.assert_close(features.sentences[0, 0], features.tokens[0, 1:3].mean(dim=0))
    assert (features.sentences[~features.mask] == 0).all()


def test_the_temperature_is_learned_or_fixed_and_its_inverse_stays_below_100() -> None:
    fixed, learned = _method(learn_temperature=False), _method()
    for method in (fixed, learned):
        torch.autograd.backward(_total(method, _batch(RAGGED)))
    assert fixed.log_scale.grad is None
    assert learned.log_scale.grad is not None
    assert learned.log_scale.grad != 0
    with torch.no_grad():
        learned.log_scale.fill_(9.0)
    _total(learned, _batch(RAGGED))
    assert learned.log_scale.exp().item() == pytest.approx(100, rel=1e-5)


def test_scores_cover_every_pair_and_ignore_padding_and_order() -> None:
    method = _method().eval()
    images, reports = method.encode_images(_batch(RAGGED).images[:3]), method.encode_reports(_reports(RAGGED))
    scores = method.scores(images, reports)["global"]
    assert scores.shape == (3, 4)
    assert scores.abs().max() <= 1 + 1e-6
    assert images.local.shape == (3, images.grid[0] * images.grid[1], 8)
    order = [3, 0, 2, 1]
    moved = method.encode_reports(_reports([RAGGED[k] for k in order], padding=3))
    torch.testing.assert_close(method.scores(images, moved)["global"], scores[:, order])


def test_training_lowers_the_loss() -> None:
    method, batch = _method(), _batch(RAGGED)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    totals = []
    for _ in range(6):
        total = _total(method, batch)
        totals.append(total.item())
        optimizer.zero_grad()
        torch.autograd.backward(total)
        optimizer.step()
    assert totals[-1] < totals[0]


@pytest.mark.parametrize(
    ("settings", "key"), [({"dim": 0}, "dim"), ({"temperature": 0.001}, "temperature"), ({"tau": 1}, "tau")]
)
def test_wrong_settings_are_named(settings: dict[str, object], key: str) -> None:
    with pytest.raises(InputError, match=f"clip: {key}"):
        _method(**settings)
