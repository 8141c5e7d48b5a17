"""GLoRIA as a whole: terms, what is read of a report, edge cases, training."""

import pytest
import torch
from torch import Tensor

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods.base import Batch, Method, ReportTokens
from prior.methods.gloria import build
from prior.objectives.contrastive import info_nce
from prior.objectives.word_region import word_region_loss

CLS, SEP = 2, 3
RAGGED = [[[5, 6], [7]], [[8, 9, 10]], [], [[11], [12, 13], [14]]]
SINGLE = [[[5, 6]], [[8, 9, 10]], [[11]], [[12, 13]]]


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


@pytest.mark.parametrize("text", ["sentence", "report"])
def test_every_parameter_learns_from_finite_named_terms(text: str) -> None:
    method = _method(text=text)
    terms = method.losses(_batch(RAGGED), method.stages[0])
    assert terms.keys() == method.stages[0].terms.keys() == {"global", "local"}
    torch.autograd.backward(sum(terms.values(), torch.zeros(())))
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for encoder in (method.image_encoder, method.text_encoder):
        assert any((p.grad != 0).any() for p in encoder.parameters())


@pytest.mark.parametrize("text", ["sentence", "report"])
def test_terms_are_the_weighted_contrasts_of_all_pairs(text: str) -> None:
    method = _method(text=text, global_weight=0.5, local_weight=2.0, temperature=0.2).eval()
    batch = _batch(SINGLE)
    terms = method.losses(batch, method.stages[0])
    images, reports = method.encode_images(batch.images), method.encode_reports(batch)
    both = info_nce(images.global_, reports.global_, 5.0) + info_nce(reports.global_, images.global_, 5.0)
    torch.testing.assert_close(terms["global"], 0.5 * both)
    local = word_region_loss(reports.tokens, reports.token_mask, images.local, 4.0, 5.0, 5.0)
    torch.testing.assert_close(terms["local"], 2 * local)


def test_a_sentence_is_drawn_from_all_and_read_alone() -> None:
    method = _method(text="sentence").eval()
    batch = _batch([[[5, 6], [7]], [[8]]])
    alone = [_total(method, _batch([[sentence], [[8]]])).item() for sentence in ([5, 6], [7])]
    seen = {min((0, 1), key=lambda k: abs(alone[k] - value)): value for value in _totals(method, batch, 20)}
    assert seen == pytest.approx({0: alone[0], 1: alone[1]}, abs=1e-4)


def _totals(method: Method, batch: Batch, count: int) -> list[float]:
    with torch.no_grad():
        return [_total(method, batch).item() for _ in range(count)]


def test_reports_are_read_as_in_training() -> None:
    by_sentence, whole = _method(text="sentence").eval(), _method(text="report").eval()
    features = by_sentence.encode_reports(_reports(RAGGED))
    assert features.mask.sum(dim=1).tolist() == [2, 1, 1, 3]
    assert features.token_mask.sum(dim=1).tolist() == [3, 3, 0, 4]
    alone = by_sentence.encode_reports(_reports([[[7]], [[5, 6]]]))
    torch.testing.assert_close(features.global_[0], alone.global_.mean(dim=0))
    torch.testing.assert_close(
        features.tokens[0, 1:4], torch.cat([alone.tokens[1, 1:3], alone.tokens[0, 1:2]])
    )
    swapped = by_sentence.encode_reports(_reports([report[::-1] for report in RAGGED]))
    torch.testing.assert_close(swapped.global_, features.global_)
    features = whole.encode_reports(_reports(RAGGED))
    assert features.mask.sum(dim=1).tolist() == [2, 1, 0, 3]
    torch.testing.assert_close(features.sentences[0, 0], features.tokens[0, 1:3].mean(dim=0))


@pytest.mark.parametrize("text", ["sentence", "report"])
def test_scores_cover_every_pair_and_ignore_padding_and_order(text: str) -> None:
    method = _method(text=text).eval()
    images, reports = method.encode_images(_batch(RAGGED).images[:3]), method.encode_reports(_reports(RAGGED))
    scores = method.scores(images, reports)
    assert scores["global"].shape == scores["local"].shape == (3, 4)
    assert (scores["local"][:, 2] == 0).all()
    assert scores["global"].abs().max() <= 1 + 1e-6
    order = [3, 0, 2, 1]
    moved = method.encode_reports(_reports([RAGGED[k] for k in order], padding=3))
    for name, values in method.scores(images, moved).items():
        torch.testing.assert_close(values, scores[name][:, order])


@pytest.mark.parametrize("text", ["sentence", "report"])
@pytest.mark.parametrize("reports", [[[]], [[], []], [[[5]]], [[[5], [6]], [[5], [6]]]])
def test_empty_single_and_duplicate_reports_are_defined(text: str, reports: list[list[list[int]]]) -> None:
    method = _method(text=text)
    total = _total(method, _batch(reports))
    torch.autograd.backward(total)
    assert torch.isfinite(total)
    if len(reports) == 1 or not reports[0]:
        assert total.item() == 0
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)


def test_pairs_without_a_sentence_and_padding_do_not_change_the_loss() -> None:
    method = _method(text="report").eval()
    loss = _total(method, _batch(SINGLE))
    torch.testing.assert_close(_total(method, _batch([*SINGLE, []], padding=2)), loss)


@pytest.mark.parametrize("text", ["sentence", "report"])
def test_training_lowers_the_loss(text: str) -> None:
    method, batch = _method(text=text), _batch(SINGLE)
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
    ("settings", "key"), [({"dim": 0}, "dim"), ({"text": "word"}, "text"), ({"tau": 1}, "tau")]
)
def test_wrong_settings_are_named(settings: dict[str, object], key: str) -> None:
    with pytest.raises(InputError, match=f"gloria: {key}"):
        _method(**settings)
