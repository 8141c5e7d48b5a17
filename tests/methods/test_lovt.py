"""LoVT as a whole: terms, edge cases, invariances, training; and its layers against loops."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods import lovt
from prior.methods.base import Batch
from prior.methods.lovt_layers import AverageQueryPool, SharedCrossAttention, sentence_maxima
from prior.objectives.contrastive import info_nce
from prior.objectives.local_contrast import local_contrast, spatial_positives
from tests.methods.reports import pack, pairs

IMAGE = ImageEncoderConfig(name="test_resnet", input_size=32)
TEXT = TextEncoderConfig(vocab_size=20, width=16, layers=1, heads=2, max_tokens=16, dropout=0.0)
RAGGED = [[[5, 6], [7]], [[8, 9, 10]], [], [[11], [12, 13], [14]]]
FULL = [[[5, 6], [7]], [[8, 9, 10]], [[11], [12, 13], [14]], [[15, 16]]]


def method(**settings: object) -> lovt.Lovt:
    torch.manual_seed(0)
    built = lovt.build({"dim": 8, "hidden": 12, "heads": 2, **settings}, IMAGE, TEXT)
    assert isinstance(built, lovt.Lovt)
    return built


def total_of(model: lovt.Lovt, data: Batch) -> Tensor:
    return torch.stack(list(model.losses(data, model.stages[0]).values())).sum()


def test_the_terms_and_their_weights_are_the_paper_s() -> None:
    local = ("region_to_context", "context_to_region", "sentence_to_context", "context_to_sentence")
    expected = {"image_to_report": 0.75, "report_to_image": 0.25, **dict.fromkeys(local, 0.375)}
    assert method().stages[0].terms == expected


def test_losses_are_the_weighted_objectives() -> None:
    model, data = method().eval(), pairs(FULL)
    losses = model.losses(data, model.stages[0])
    assert losses.keys() == model.stages[0].terms.keys()
    images, reports = model.encode_images(data.images), model.encode_reports(data)
    torch.testing.assert_close(
        losses["image_to_report"], 0.75 * info_nce(images.global_, reports.global_, 10.0)
    )
    torch.testing.assert_close(
        losses["report_to_image"], 0.25 * info_nce(reports.global_, images.global_, 10.0)
    )
    contexts = model.cross_attention(images.local, reports.sentences, reports.mask)
    _, region_weights = model._encode_images(data.images)
    _, sentence_weights = model._encode_tokens(data)
    near, whole = spatial_positives(images.grid, 0.5, 1.0), torch.ones_like(region_weights).bool()
    x, c, s, g = images.local, contexts.of_regions, reports.sentences, contexts.of_sentences
    same, mask = torch.eye(s.shape[1]), reports.mask
    for name, expected in {
        "region_to_context": local_contrast(x, c, near, whole, region_weights, 0.3),
        "context_to_region": local_contrast(c, x, near, whole, region_weights, 0.3),
        "sentence_to_context": local_contrast(s, g, same, mask, sentence_weights, 0.3),
        "context_to_sentence": local_contrast(g, s, same, mask, sentence_weights, 0.3),
    }.items():
        torch.testing.assert_close(losses[name], 0.375 * expected)


def test_gradients_reach_every_weight_on_ragged_reports() -> None:
    model = method()
    total = total_of(model, pairs(RAGGED))
    torch.autograd.backward(total)
    assert torch.isfinite(total)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert [name for name, g in gradients.items() if g is None or not torch.isfinite(g).all()] == []
    for part in ("image_encoder", "text_encoder", "image_pool", "report_pool"):
        assert any(g.abs().sum() > 0 for name, g in gradients.items() if g is not None and part in name)


def test_a_report_without_sentences_leaves_the_losses_alone() -> None:
    model, data = method().eval(), pairs([*FULL, []])
    alone = Batch(images=data.images[:4], **pack(FULL).tensors())
    for name, loss in model.losses(data, model.stages[0]).items():
        torch.testing.assert_close(loss, model.losses(alone, model.stages[0])[name], atol=1e-5, rtol=1e-4)


def test_features_and_scores_have_their_shapes() -> None:
    model = method().eval()
    images, reports = model.encode_images(torch.rand(3, 1, 32, 32)), model.encode_reports(pack(RAGGED))
    assert images.global_.shape == (3, 8)
    assert images.local.shape == (3, images.grid[0] * images.grid[1], 8)
    assert reports.sentences.shape == (4, 3, 8)
    assert reports.tokens.shape == (*pack(RAGGED).ids.shape, 8)
    assert (reports.sentences[~reports.mask] == 0).all()
    scores = model.scores(images, reports)["global"]
    assert scores.shape == (3, 4)
    assert (scores[:, 2] == 0).all()
    cosine = F.cosine_similarity(images.global_[1], reports.global_[3], dim=0)
    torch.testing.assert_close(scores[1, 3], cosine)


def test_encoding_reports_leaves_the_sentence_statistics_to_sentences() -> None:
    model, other = method(), method()
    model.encode_reports(pack(FULL))
    other._encode_tokens(pack(FULL))
    for name, value in model.sentence_projection.state_dict().items():
        if "running" in name:
            assert torch.equal(value, other.sentence_projection.state_dict()[name])


def test_a_few_steps_lower_the_loss() -> None:
    model, data = method(), pairs(FULL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(6):
        total = total_of(model, data)
        optimizer.zero_grad()
        torch.autograd.backward(total)
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]


def test_maxima_equal_a_loop_and_their_gradient_goes_to_the_largest_token() -> None:
    reports = pack(RAGGED)
    features = torch.randn(*reports.ids.shape, 3, requires_grad=True)
    maxima, mask = sentence_maxima(features, reports.sentence, reports.n_sentences)
    assert mask.sum(1).tolist() == [2, 1, 0, 3]
    slow = torch.zeros_like(maxima)
    for b, report in enumerate(RAGGED):
        for s in range(len(report)):
            slow[b, s] = features[b][reports.sentence[b] == s].amax(0)
    torch.testing.assert_close(maxima, slow)
    push = torch.randn_like(maxima)
    ours, theirs = (torch.autograd.grad((push * m).sum(), features)[0] for m in (maxima, slow))
    torch.testing.assert_close(ours, theirs)


def test_the_pool_equals_attention_over_real_entries_and_shows_its_weights() -> None:
    torch.manual_seed(0)
    pool, entries = AverageQueryPool(8, 2), torch.randn(3, 4, 8)
    mask = torch.arange(4) < torch.tensor([[4], [1], [0]])
    pooled, weights = pool(entries, mask)
    assert not weights.requires_grad
    for b, n in enumerate([4, 1]):
        own = entries[b, :n]
        query, keys, values = pool.query(own.mean(0)), pool.key(own), pool.value(own)
        heads, shown = [], torch.zeros(n)
        for h in (slice(0, 4), slice(4, 8)):
            attention = (keys[:, h] @ query[h] / 2).softmax(0)
            heads.append(attention @ values[:, h])
            shown += attention.detach() / 2
        torch.testing.assert_close(pooled[b], pool.output(torch.cat(heads)))
        torch.testing.assert_close(weights[b, :n], shown)
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(pooled[2], pool.output.bias)


def test_cross_attention_equals_a_loop() -> None:
    torch.manual_seed(0)
    attention = SharedCrossAttention(4).eval()
    regions, sentences = torch.randn(3, 5, 4), torch.randn(3, 2, 4)
    mask = torch.arange(2) < torch.tensor([[2], [1], [0]])
    contexts = attention(regions, sentences, mask)
    for b, n in enumerate([2, 1]):
        x, s = regions[b], sentences[b, :n]
        scores = attention.key(x) @ attention.key(s).T / 2
        read = attention.region_norm(attention.output(scores.softmax(1) @ attention.value(s)))
        torch.testing.assert_close(contexts.of_regions[b], read)
        seen = attention.sentence_norm(attention.output(scores.T.softmax(1) @ attention.value(x)))
        torch.testing.assert_close(contexts.of_sentences[b, :n], seen)
    assert (contexts.of_regions[2] == 0).all()
    assert (contexts.of_sentences[~mask] == 0).all()


@pytest.mark.parametrize(
    ("settings", "key"), [({"dim": 0}, "dim"), ({"tau": 1}, "tau"), ({"heads": 3}, "heads")]
)
def test_wrong_settings_are_named(settings: dict[str, object], key: str) -> None:
    with pytest.raises(InputError, match=f"lovt: {key}"):
        method(**settings)
