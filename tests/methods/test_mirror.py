import math

import pytest
import torch

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods import mirror
from prior.methods.base import Batch, ReportTokens
from prior.methods.token_decoder import TokenDecoder
from prior.objectives.contrastive import symmetric_info_nce

CLS, SEP = 2, 3
REPORTS = [[[5, 6], [7]], [[8, 9, 10]], [], [[11], [12, 13], [14]]]
WEIGHTS = {
    "contrast": 0.5,
    "image_retention": 0.15,
    "report_retention": 0.15,
    "image_style": 0.1,
    "report_style": 0.1,
    "cluster": 0.1,
}


def tokens(reports=REPORTS, padding=0):
    rows = [[CLS, *(t for s in r for t in s), SEP] for r in reports]
    owners = [[-1, *(i for i, s in enumerate(r) for _ in s), -1] for r in reports]
    length = max(map(len, rows)) + padding
    return ReportTokens(
        ids=torch.tensor([row + [0] * (length - len(row)) for row in rows]),
        mask=torch.tensor([[k < len(row) for k in range(length)] for row in rows]),
        sentence=torch.tensor([owner + [-1] * (length - len(owner)) for owner in owners]),
        n_sentences=torch.tensor([len(r) for r in reports]),
    )


def batch(reports=REPORTS, padding=0):
    images = torch.rand(len(reports), 1, 32, 32, generator=torch.Generator().manual_seed(0))
    return Batch(images=images, **tokens(reports, padding).tensors())


def method(**settings):
    torch.manual_seed(0)
    image = ImageEncoderConfig(name="test_resnet", input_size=32)
    text = TextEncoderConfig(vocab_size=20, width=16, layers=1, heads=2, max_tokens=16, dropout=0.0)
    return mirror.build({"width": 8, "heads": 2, "prototypes": 12, **settings}, image, text)


def total_of(model, data):
    return sum(model.losses(data, model.stages[0]).values())


def test_every_term_is_there_with_its_weight_and_trains_its_part():
    model = method()
    assert model.stages[0].terms == WEIGHTS
    losses = model.losses(batch(), model.stages[0])
    assert losses.keys() == WEIGHTS.keys()
    assert all(torch.isfinite(value) and value > 0 for value in losses.values())
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    for encoder in (model.image_encoder, model.text_encoder):
        assert any((p.grad != 0).any() for p in encoder.parameters())


def test_the_contrast_leaves_out_reports_without_words():
    model = method(hidden_ratio=0.0).eval()
    data = batch()
    losses = model.losses(data, model.stages[0])
    keep = [0, 1, 3]
    images, reports = model.encode_images(data.images).global_, model.encode_reports(data).global_
    expected = 0.5 * symmetric_info_nce(images[keep], reports[keep], 1 / 0.07)
    torch.testing.assert_close(losses["contrast"], expected)
    assert losses["image_retention"] == losses["report_retention"] == 0


def test_reports_are_means_of_words_and_padding_changes_none():
    model = method().eval()
    together = model.encode_reports(tokens(padding=2))
    assert together.sentences.shape == (4, 3, 8)
    assert together.mask.sum(dim=1).tolist() == [2, 1, 0, 3]
    assert (together.sentences[~together.mask] == 0).all()
    for b, report in enumerate(REPORTS):
        alone = model.encode_reports(tokens([report]))
        torch.testing.assert_close(together.global_[b], alone.global_[0])
    torch.testing.assert_close(together.global_[0], together.tokens[0, 1:4].mean(dim=0))
    torch.testing.assert_close(together.sentences[0, 0], together.tokens[0, 1:3].mean(dim=0))


def test_images_and_scores_have_the_promised_shapes():
    model = method().eval()
    images, reports = model.encode_images(torch.rand(3, 1, 32, 32)), model.encode_reports(tokens())
    assert images.global_.shape == (3, 8)
    assert images.local.shape == (3, images.grid[0] * images.grid[1], 8)
    scores = model.scores(images, reports)["global"]
    assert scores.shape == (3, 4)
    cosine = torch.nn.functional.cosine_similarity(images.global_[1], reports.global_[3], dim=0)
    torch.testing.assert_close(scores[1, 3], cosine)


def test_hidden_tokens_cannot_be_seen_and_get_predictions_of_their_own():
    torch.manual_seed(0)
    decoder = TokenDecoder(channels=6, width=8, heads=2, positions=5)
    shown, mask = torch.randn(2, 4, 6), torch.arange(4) < torch.tensor([[4], [3]])
    hidden = torch.tensor([[True, True, False, False], [False, True, True, False]])
    predicted = decoder(shown, mask, hidden)
    changed = torch.where(hidden.unsqueeze(2) | ~mask.unsqueeze(2), torch.randn(2, 4, 6), shown)
    torch.testing.assert_close(decoder(changed, mask, hidden)[mask], predicted[mask])
    assert not torch.allclose(predicted[0, 0], predicted[0, 1])


def test_prototypes_start_orthogonal():
    prototypes = method(prototypes=12).style.prototypes
    torch.testing.assert_close(prototypes.T @ prototypes, torch.eye(8), atol=1e-5, rtol=0)


def test_the_entropy_shows_uniform_assignments():
    model = method()
    model.losses(batch(), model.stages[0])
    assert model.watched.keys() == {"image_entropy", "report_entropy"}
    assert all(0 < value <= math.log(12) + 1e-5 for value in model.watched.values())
    assert not any(value.requires_grad for value in model.watched.values())
    torch.nn.init.zeros_(model.style.prototypes)
    assert model.losses(batch(), model.stages[0])["cluster"] == 0
    assert model.watched["report_entropy"].item() == pytest.approx(math.log(12))


def test_a_few_steps_lower_the_loss():
    model = method()
    data = batch([[[5, 6]], [[8, 9, 10]], [[11]], [[12, 13]]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    totals = []
    for _ in range(6):
        torch.manual_seed(1)
        total = total_of(model, data)
        totals.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert totals[-1] < totals[0]


@pytest.mark.parametrize(
    ("settings", "key"), [({"width": 2}, "width"), ({"heads": 3}, "heads"), ({"styles": 1}, "styles")]
)
def test_wrong_settings_are_named(settings, key):
    with pytest.raises(InputError, match=f"mirror: {key}"):
        method(**settings)
