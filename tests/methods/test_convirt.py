import pytest
import torch

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods import convirt
from prior.methods.base import Batch, ReportTokens, sentence_means
from prior.methods.sentences import pick_sentence, repeat_per_sentence
from prior.objectives.contrastive import info_nce

CLS, SEP = 2, 3
REPORTS = [[[5, 6], [7]], [[8, 9, 10]], [], [[11], [12, 13], [14]]]


def tokens(reports=REPORTS):
    """Reports as lists of sentences of ids, packed as the tokenizer does."""
    rows = [[CLS, *(t for s in r for t in s), SEP] for r in reports]
    owners = [[-1, *(i for i, s in enumerate(r) for _ in s), -1] for r in reports]
    length = max(map(len, rows))
    return ReportTokens(
        ids=torch.tensor([row + [0] * (length - len(row)) for row in rows]),
        mask=torch.tensor([[k < len(row) for k in range(length)] for row in rows]),
        sentence=torch.tensor([owner + [-1] * (length - len(owner)) for owner in owners]),
        n_sentences=torch.tensor([len(r) for r in reports]),
    )


def batch(reports=REPORTS):
    return Batch(images=torch.rand(len(reports), 1, 32, 32), **tokens(reports).tensors())


def method(**settings):
    torch.manual_seed(0)
    image = ImageEncoderConfig(name="test_resnet", input_size=32)
    text = TextEncoderConfig(vocab_size=20, width=16, layers=1, heads=2, max_tokens=16, dropout=0.0)
    return convirt.build({"dim": 8, **settings}, image, text)


def rows_of(picked):
    return [row[m].tolist() for row, m in zip(picked.ids, picked.mask, strict=True)]


def test_one_sentence_stays_between_the_special_tokens():
    picked = pick_sentence(tokens(), torch.tensor([1, 0, 0, 1]))
    assert rows_of(picked) == [[CLS, 7, SEP], [CLS, 8, 9, 10, SEP], [CLS, SEP], [CLS, 12, 13, SEP]]
    assert picked.sentence.tolist()[0] == [-1, 0, -1, -1, -1]
    assert picked.n_sentences.tolist() == [1, 1, 0, 1]


def test_every_sentence_becomes_a_row():
    rows, counts = repeat_per_sentence(tokens())
    assert counts.tolist() == [2, 1, 1, 3]
    expected = [s for r in REPORTS for s in (r or [[]])]
    assert rows_of(rows) == [[CLS, *s, SEP] for s in expected]


def test_sentence_means_agree_with_a_loop():
    reports = tokens()
    features = torch.randn(*reports.ids.shape, 3)
    means, mask = sentence_means(features, reports.sentence, reports.n_sentences)
    assert mask.sum(1).tolist() == [2, 1, 0, 3]
    for b, report in enumerate(REPORTS):
        for s in range(3):
            own = features[b][reports.sentence[b] == s]
            expected = own.mean(0) if s < len(report) else torch.zeros(3)
            torch.testing.assert_close(means[b, s], expected)


def test_losses_are_the_weighted_contrast_of_one_sentence_each():
    model = method(image_weight=0.75, temperature=0.2).eval()
    data = batch([[[5, 6]], [[8, 9, 10]], [[11]]])
    terms = model.losses(data, model.stages[0])
    images = model.encode_images(data.images).global_
    reports = model.encode_reports(data).global_
    torch.testing.assert_close(terms["image_to_report"], 0.75 * info_nce(images, reports, 5.0))
    torch.testing.assert_close(terms["report_to_image"], 0.25 * info_nce(reports, images, 5.0))


def test_a_report_is_the_mean_of_its_sentences_each_read_alone():
    model = method().eval()
    features = model.encode_reports(tokens())
    assert features.mask.sum(1).tolist() == [2, 1, 1, 3]
    alone = model.encode_reports(tokens([[[7]], [[5, 6]]])).global_
    torch.testing.assert_close(features.global_[0], alone.mean(0))
    shuffled = model.encode_reports(tokens([r[::-1] for r in REPORTS])).global_
    torch.testing.assert_close(shuffled, features.global_)


def test_permuting_the_batch_permutes_the_features():
    model = method().eval()
    data = batch()
    order = torch.tensor([2, 0, 3, 1])
    permuted = Batch(**{name: tensor[order] for name, tensor in data.tensors().items()})
    reports, images = model.encode_reports(data), model.encode_images(data.images)
    torch.testing.assert_close(model.encode_reports(permuted).global_, reports.global_[order])
    torch.testing.assert_close(model.encode_images(permuted.images).local, images.local[order])
    scores = model.scores(images, reports)["global"]
    assert scores.shape == (4, 4)
    assert scores.abs().max() <= 1 + 1e-6


def test_training_lowers_the_loss():
    model = method(learning_rate=1e-2)
    data = batch([[[5, 6]], [[8, 9, 10]], [[11]], [[12, 13]]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(3):
        total = sum(model.losses(data, model.stages[0]).values())
        totals.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert totals[2] < totals[0]
    untrained = [n for n, p in model.named_parameters() if p.grad is None]
    assert untrained == []


@pytest.mark.parametrize(("settings", "key"), [({"dim": 0}, "dim"), ({"tau": 1}, "tau")])
def test_wrong_settings_are_named(settings, key):
    with pytest.raises(InputError, match=f"convirt: {key}"):
        method(**settings)
