"""PRIOR as a whole: stages, edge cases, invariances, training."""

import pytest
import torch

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods.base import Batch, ReportTokens
from prior.methods.prior import Prior, build
from prior.methods.statistics import keep_running_statistics

IMAGE = ImageEncoderConfig(name="resnet10t", input_size=32)
TEXT = TextEncoderConfig(vocab_size=40, width=16, layers=1, heads=2, max_tokens=32, dropout=0.0)
SETTINGS = {"width": 16, "heads": 2, "prototypes": 12, "slots": 4, "image_decoder_channels": 8}


@pytest.fixture
def method() -> Prior:
    torch.manual_seed(0)
    return build(SETTINGS, IMAGE, TEXT)


def _reports(sentences: list[list[list[int]]]) -> ReportTokens:
    length = 2 + max(sum(map(len, report)) for report in sentences)
    ids = torch.zeros(len(sentences), length, dtype=torch.long)
    sentence = torch.full_like(ids, -1)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for b, report in enumerate(sentences):
        words = [(word, s) for s, words in enumerate(report) for word in words]
        row = [(1, -1), *words, (2, -1)]
        ids[b, : len(row)] = torch.tensor([word for word, _ in row])
        sentence[b, : len(row)] = torch.tensor([s for _, s in row])
        mask[b, : len(row)] = True
    counts = torch.tensor([len(report) for report in sentences])
    return ReportTokens(ids=ids, mask=mask, sentence=sentence, n_sentences=counts)


def _batch(sentences: list[list[list[int]]], seed: int = 0) -> Batch:
    images = torch.rand(len(sentences), 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    return Batch(images=images, **_reports(sentences).tensors())


RAGGED = [[[5, 6], [7, 8, 9]], [[10]], [], [[11], [12, 13], [14], [15], [16, 17], [18]]]


def test_the_stages_are_the_paper_s(method: Prior) -> None:
    assert [sorted(stage.terms) for stage in method.stages] == [
        ["global", "local_image", "local_text"],
        ["global", "local_image", "local_text", "prototype"],
        [
            *("divergence", "generation", "global", "global_prediction", "local_image", "local_text"),
            *("prototype", "reconstruction"),
        ],
    ]
    last = method.stages[2].terms
    assert (last["global"], last["prototype"], last["generation"], last["reconstruction"]) == (10, 10, 10, 1)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_every_stage_trains_on_ragged_reports(method: Prior, stage: int) -> None:
    losses = method.losses(_batch(RAGGED), method.stages[stage])
    assert losses.keys() == method.stages[stage].terms.keys()
    torch.autograd.backward(sum(losses.values(), torch.zeros(())))
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    used = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
    everything = {name.split(".")[0] for name, _ in method.named_parameters()}
    later = [{"bank", "image_decoder", "report_decoder"}, {"image_decoder", "report_decoder"}, set()]
    assert used == everything - later[stage]


def test_the_report_embedding_ignores_the_order_of_its_sentences(method: Prior) -> None:
    method.eval()
    features = torch.randn(1, 3, 16)
    mask = torch.tensor([[True, True, True]])
    order = [2, 0, 1]
    assert torch.allclose(
        method.sentence_pool(features, mask), method.sentence_pool(features[:, order], mask), atol=1e-5
    )


def test_inference_has_no_noise_and_scores_every_pair(method: Prior) -> None:
    method.eval()
    images = method.encode_images(torch.rand(3, 1, 32, 32))
    first, second = method.encode_reports(_reports(RAGGED)), method.encode_reports(_reports(RAGGED))
    assert torch.equal(first.global_, second.global_)
    scores = method.scores(images, first)
    assert scores["global"].shape == scores["local"].shape == (3, 4)
    cosine = torch.nn.functional.cosine_similarity(images.global_[1], first.global_[3], dim=0)
    assert torch.allclose(scores["global"][1, 3], cosine, atol=1e-5)
    assert (scores["local"][:, 2] == 0).all()


def test_regions_are_places_of_the_last_map(method: Prior) -> None:
    """The token reshape of the release mixes channels and places (papers.md D1)."""
    method.eval()
    images = torch.rand(2, 1, 32, 32)
    last, features = method.image_encoder(images)[-1], method.encode_images(images)
    height, width = features.grid
    expected = method.region_projection(last[1, :, height - 1, 0])
    assert torch.allclose(features.local[1, (height - 1) * width], expected, atol=1e-5)


def test_masked_images_leave_the_running_statistics_alone(method: Prior) -> None:
    before = {k: v.clone() for k, v in method.image_encoder.state_dict().items() if "running" in k}
    with keep_running_statistics(method.image_encoder):
        method.image_encoder(torch.rand(2, 1, 32, 32))
    assert all(torch.equal(v, method.image_encoder.state_dict()[k]) for k, v in before.items())
    method.image_encoder(torch.rand(2, 1, 32, 32))
    assert not all(torch.equal(v, method.image_encoder.state_dict()[k]) for k, v in before.items())


def test_a_few_steps_lower_every_stage(method: Prior) -> None:
    batch = _batch([[[5, 6], [7, 8]], [[9], [10]], [[11, 12], [13]], [[14]]])
    for stage in method.stages:
        optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
        totals = []
        for _ in range(8):
            torch.manual_seed(1)
            total = sum(method.losses(batch, stage).values(), torch.zeros(()))
            optimizer.zero_grad()
            torch.autograd.backward(total)
            optimizer.step()
            totals.append(total.item())
        assert totals[-1] < totals[0]


def test_the_bank_holds_the_latest_sentences_until_it_is_used(method: Prior) -> None:
    method.eval()
    noise = method.bank.prototypes.clone()
    earlier, later = _batch(RAGGED), _batch([[[20]], [[21]]])
    sentences = [method._encode_tokens(batch) for batch in (later, earlier)]
    expected = torch.cat([raw.sentences[raw.mask] for raw in sentences])
    with torch.no_grad():
        method.losses(earlier, method.stages[0])
        method.losses(later, method.stages[0])
        held = method.bank.prototypes.clone()
        torch.testing.assert_close(held[: len(expected)], expected)
        assert torch.equal(held[len(expected) :], noise[: -len(expected)])
        method.losses(earlier, method.stages[1])
        used = method.bank.prototypes.clone()
        method.losses(later, method.stages[1])
        method.losses(later, method.stages[0])
    torch.testing.assert_close(
        used[: int(sentences[1].mask.sum())], sentences[1].sentences[sentences[1].mask]
    )
    assert torch.equal(used, method.bank.prototypes)
    other = build({**SETTINGS, "prototype_start": "normal"}, IMAGE, TEXT)
    before = other.bank.prototypes.clone()
    other.losses(earlier, other.stages[0])
    assert torch.equal(before, other.bank.prototypes)


def test_a_stage_without_epochs_is_left_out_and_the_bank_with_it() -> None:
    method = build({**SETTINGS, "epochs": (2, 0, 0)}, IMAGE, TEXT).eval()
    assert [stage.name for stage in method.stages] == ["alignment"]
    reports = _reports([[[5, 6]]])
    raw = method.token_projection(method.text_encoder(reports.ids, reports.mask))[0, 1:3].mean(dim=0)
    assert torch.allclose(method.encode_reports(reports).sentences[0, 0], raw, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"widht": 8}, "widht"),
        ({"variant": "other"}, "variant"),
        ({"width": 20, "heads": 8}, "heads: 8 does not divide width 20"),
        ({"epochs": (0, 0, 0)}, "epochs: all zero"),
        ({"widht": 8, "slots": 0}, "prior: slots: .*; widht: .*see PriorSettings in"),
    ],
)
def test_wrong_settings_name_the_key(settings: dict[str, object], key: str) -> None:
    with pytest.raises(InputError, match=key):
        build(settings, IMAGE, TEXT)
