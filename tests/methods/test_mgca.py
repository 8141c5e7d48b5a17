"""MGCA as a whole: terms, edge cases, invariances, frozen prototypes, training."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertModel

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoder, TextEncoderConfig
from prior.errors import InputError
from prior.methods import mgca
from prior.methods.base import Batch, sentence_means
from prior.methods.class_attention import encode_with_class_attention
from prior.objectives.contrastive import symmetric_info_nce
from prior.objectives.swapped_prototypes import swapped_prototype_loss
from prior.objectives.token_alignment import clipped_weights, token_alignment
from tests.methods.reports import pack, pairs

IMAGE = ImageEncoderConfig(name="test_resnet", input_size=32)
TEXT = TextEncoderConfig(vocab_size=20, width=16, layers=1, heads=2, max_tokens=16, dropout=0.0)
RAGGED = [[[5, 6], [7]], [[8, 9, 10]], [], [[11], [12, 13], [14]]]
FULL = [[[5, 6], [7]], [[8, 9, 10]], [[11], [12, 13], [14]], [[15, 16]]]


def method(**settings: object) -> mgca.Mgca:
    torch.manual_seed(0)
    built = mgca.build({"dim": 8, "hidden": 12, "prototypes": 6, "frozen_epochs": 0, **settings}, IMAGE, TEXT)
    assert isinstance(built, mgca.Mgca)
    return built


def total_of(model: mgca.Mgca, data: Batch) -> Tensor:
    return torch.stack(list(model.losses(data, model.stages[0]).values())).sum()


def test_losses_are_the_weighted_objectives() -> None:
    weights = {"instance_weight": 1.0, "token_weight": 0.7, "prototype_weight": 0.5}
    model, data = method(**weights).eval(), pairs(FULL)
    losses = model.losses(data, model.stages[0])
    assert list(losses) == list(model.stages[0].terms) == ["instance", "token", "prototype"]
    images, reports = model.encode_images(data.images), model.encode_reports(data)
    v, t, x, w, words = images.global_, reports.global_, images.local, reports.tokens, reports.token_mask
    assert torch.equal(words, data.sentence >= 0)
    torch.testing.assert_close(losses["instance"], symmetric_info_nce(v, t, 1 / 0.07, 1.0, 1.0))
    expected = swapped_prototype_loss(v, t, model.prototypes, 0.2, 0.05, 3)
    torch.testing.assert_close(losses["prototype"], 0.5 * expected)
    _, attention = encode_with_class_attention(model.text_encoder, data.ids, data.mask)
    every = torch.ones(x.shape[:2], dtype=torch.bool)
    of_regions = token_alignment(x, w, every, words, every / every.shape[1], 0.1)
    of_tokens = token_alignment(w, x, words, every, clipped_weights(attention, words, 0.1), 0.1)
    torch.testing.assert_close(losses["token"], 0.7 * (of_regions + of_tokens))


def test_class_attention_is_that_of_the_last_layer() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(TEXT.model_copy(update={"layers": 2})).eval()
    plain = BertModel(encoder.network.config, add_pooling_layer=False).eval()
    plain.load_state_dict(encoder.network.state_dict())
    plain.set_attn_implementation("eager")
    data = pack(RAGGED, padding=2)
    features, attention = encode_with_class_attention(encoder, data.ids, data.mask)
    read = plain(input_ids=data.ids, attention_mask=data.mask.long(), output_attentions=True)
    torch.testing.assert_close(attention, read.attentions[-1][:, :, 0].mean(dim=1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(features, encoder(data.ids, data.mask))
    assert not attention.requires_grad
    assert (attention[~data.mask] == 0).all()


def test_gradients_reach_every_weight_on_ragged_reports() -> None:
    model = method()
    total = total_of(model, pairs(RAGGED))
    torch.autograd.backward(total)
    assert torch.isfinite(total)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert [name for name, g in gradients.items() if g is None or not torch.isfinite(g).all()] == []
    for part in ("image_encoder", "text_encoder", "prototypes"):
        assert any(g.abs().sum() > 0 for name, g in gradients.items() if g is not None and part in name)


def test_a_report_without_sentences_leaves_the_losses_alone() -> None:
    model, data = method().eval(), pairs([*FULL, []])
    alone = Batch(images=data.images[:4], **pack(FULL).tensors())
    for name, loss in model.losses(data, model.stages[0]).items():
        torch.testing.assert_close(loss, model.losses(alone, model.stages[0])[name], atol=1e-5, rtol=1e-4)


def test_features_and_scores_have_their_shapes() -> None:
    model, read = method().eval(), pack(RAGGED)
    images, reports = model.encode_images(torch.rand(3, 1, 32, 32)), model.encode_reports(read)
    assert images.local.shape == (3, images.grid[0] * images.grid[1], 8)
    assert reports.tokens.shape == (*read.ids.shape, 8)
    assert (reports.tokens[~reports.token_mask] == 0).all()
    means, mask = sentence_means(reports.tokens, read.sentence, read.n_sentences)
    assert torch.equal(reports.mask, mask)
    torch.testing.assert_close(reports.sentences, means)
    scores = model.scores(images, reports)["global"]
    assert scores.shape == (3, 4)
    assert (scores[:, 2] == 0).all()
    torch.testing.assert_close(
        scores[1, 3], F.cosine_similarity(images.global_[1], reports.global_[3], dim=0)
    )


def test_prototypes_are_frozen_in_the_first_epoch() -> None:
    assert mgca.MgcaSettings().frozen_epochs == 1
    model, data = method(frozen_epochs=2), pairs(FULL)
    for model.epoch in (0, 1):
        torch.autograd.backward(total_of(model, data))
        assert model.prototypes.grad is None
    model.epoch = 2
    torch.autograd.backward(total_of(model, data))
    assert model.prototypes.grad is not None


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


@pytest.mark.parametrize(
    ("settings", "key"), [({"dim": 0}, "dim"), ({"tau": 1}, "tau"), ({"clip": 0.6}, "clip")]
)
def test_wrong_settings_are_named(settings: dict[str, object], key: str) -> None:
    with pytest.raises(InputError, match=f"mgca: {key}"):
        method(**settings)
