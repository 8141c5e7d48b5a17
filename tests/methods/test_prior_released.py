"""PRIOR's variant `released`: every piece against a slow formula of what the public code computes."""

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.methods.prior import Prior, build
from prior.methods.prior_released import (
    ReleasedPrior,
    misread_map,
    misread_tokens,
    moving_divergence,
    rearrange_slots,
    slot_loss,
    unread_after,
)
from prior.objectives.generation import gather_matched_slots
from tests.methods.reports import RAGGED, pack, pairs

IMAGE = ImageEncoderConfig(name="test_resnet", input_size=32)
TEXT = TextEncoderConfig(vocab_size=40, width=16, layers=1, heads=2, max_tokens=32, dropout=0.0)
SETTINGS = {
    **{"width": 16, "heads": 2, "prototypes": 12, "slots": 6, "image_decoder_channels": 8},
    "prototype_start": "normal",
}
FULL = [[[5, 6], [7, 8, 9]], [[10], [11, 12]], [[11], [12, 13], [14], [15], [16, 17], [18]]]


def method(**settings: object) -> Prior:
    torch.manual_seed(0)
    return build({**SETTINGS, "variant": "released", **settings}, IMAGE, TEXT)


def total_of(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def test_the_variants_start_from_the_same_weights_and_differ_in_their_third_stage() -> None:
    released, described = method(), method(variant="described")
    assert isinstance(released, ReleasedPrior)
    assert not isinstance(described, ReleasedPrior)
    start = described.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in released.state_dict().items())
    assert released.stages == described.stages
    values = []
    for model in (released, described):
        torch.manual_seed(1)
        values.append(model.losses(pairs(FULL), model.stages[2]))
    torch.testing.assert_close(values[0]["global"], values[1]["global"])
    for name in ("local_image", "local_text", "reconstruction", "generation", "global_prediction"):
        assert not torch.isclose(values[0][name], values[1][name], rtol=1e-4), name


def test_tokens_are_runs_of_channels_and_no_regions() -> None:
    """D1."""
    last = torch.randn(2, 5, 2, 3)
    tokens = misread_map(last)
    for b in range(2):
        flat = [last[b, c, y, x] for c in range(5) for y in range(2) for x in range(3)]
        for r in range(6):
            assert tokens[b, r].tolist() == flat[5 * r : 5 * r + 5]
    model = method().eval()
    images = torch.rand(2, 1, 32, 32)
    last = model.standardise(model.image_encoder(images)[-1])
    features = model.encode_images(images)
    torch.testing.assert_close(features.local, model.region_projection(misread_map(last)))
    regions = last.flatten(2).transpose(1, 2)
    torch.testing.assert_close(features.global_, model.global_projection(model.image_pool(regions)))


def test_the_image_branch_misreads_tokens_and_hides_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """D3 and D15."""
    tokens = torch.randn(1, 4, 6)
    flat = [tokens[0, r, d] for r in range(4) for d in range(6)]
    for d in range(6):
        assert misread_tokens(tokens)[0, d].tolist() == flat[4 * d : 4 * d + 4]
    model, batch = method(), pairs(FULL)
    images = model.eval().encode_images(batch.images)
    reports = model.encode_reports(batch)
    given = []
    monkeypatch.setattr(model.image_decoder, "forward", lambda *a: given.append(a) or batch.images)
    model.image_encoder.forward = None  # the released branch encodes no second image
    model._reconstruction_term(batch.images, images, reports)
    contexts = model.local_attention(images.local, reports.sentences, reports.mask).of_regions
    for decoded, read in zip(given[0], (images.local, contexts), strict=False):
        channels = decoded.transpose(1, 2)
        for b in range(len(FULL)):
            torch.testing.assert_close(channels[b].flatten(), read[b].flatten())
    model._reconstruction_term(batch.images, images, reports)
    model.train()
    model._reconstruction_term(batch.images, images, reports)
    channels = given[2][0].transpose(1, 2)
    hidden = (channels == 0).all(dim=2)
    assert 0 < hidden.sum() < hidden.numel()
    torch.testing.assert_close(channels[~hidden], 2 * given[0][0].transpose(1, 2)[~hidden])
    torch.testing.assert_close(given[2][1], given[0][1])


def test_slots_follow_the_assignment_in_the_wrong_direction() -> None:
    """D2."""
    targets, slots = torch.randn(3, 6, 4), torch.randn(3, 6, 4)
    found = rearrange_slots(slots, targets)
    for b in range(3):
        _, column = linear_sum_assignment(torch.cdist(slots[b], targets[b], p=1.0).numpy())
        assert torch.equal(found[b], slots[b][torch.from_numpy(column)])
    cycle = torch.tensor([[[0.0], [5.0], [9.0]]])
    # Slot 0 belongs to target 1, slot 1 to target 2, slot 2 to target 0; all three land beside a wrong one.
    assert rearrange_slots(torch.tensor([[[5.1], [9.1], [0.1]]]), cycle).flatten().tolist() == pytest.approx(
        [9.1, 0.1, 5.1]
    )


def test_about_one_exactly_permuted_target_in_eight_is_found_again() -> None:
    """D2: places on cycles of one or two, 2 of 16 on average; `described` finds all."""
    torch.manual_seed(0)
    targets = torch.randn(200, 16, 4)
    order = torch.rand(200, 16).argsort(dim=1)
    slots = targets.gather(1, order.unsqueeze(2).expand_as(targets))
    right = (rearrange_slots(slots, targets) == targets).all(dim=2)
    assert right.float().mean().item() == pytest.approx(2 / 16, abs=0.03)
    gathered, _ = gather_matched_slots(slots, targets, torch.ones(200, 16, dtype=torch.bool))
    assert torch.equal(gathered, targets)


def test_slots_read_earlier_slots_only() -> None:
    """D4."""
    assert unread_after(3, torch.device("cpu")).int().tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    decoder, regions = method().eval().report_decoder, torch.randn(1, 4, 16)
    mask = unread_after(6, regions.device)
    before, free = decoder(regions, mask), decoder(regions)
    with torch.no_grad():
        decoder.slots[4] += 1.0
    changed = (decoder(regions, mask) != before).any(dim=2)
    assert changed.tolist() == [[False] * 4 + [True] * 2]
    assert (decoder(regions) != free).any(dim=2).all()


def test_slots_without_a_sentence_count_and_move_their_targets() -> None:
    """D5 and D18."""
    slots, targets = torch.randn(2, 4, 3, requires_grad=True), torch.randn(2, 4, 3, requires_grad=True)
    present = torch.tensor([True, True])
    terms = [abs(slots[b, k, d] - targets[b, k, d]) for b in range(2) for k in range(4) for d in range(3)]
    slow = torch.stack(terms).mean()
    loss = slot_loss(slots, targets, present)
    torch.testing.assert_close(loss, slow)
    for ours, theirs in zip(
        torch.autograd.grad(loss, [slots, targets]), torch.autograd.grad(slow, [slots, targets]), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_divergence_moves_both_sides() -> None:
    """D18."""
    true, generated = torch.randn(2, 3, 5, requires_grad=True), torch.randn(2, 3, 5, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    terms = []
    for b, s in mask.nonzero().tolist():
        p, q = true[b, s].softmax(0), generated[b, s].softmax(0)
        terms.append((p * (p / q).log()).sum())
    slow, loss = torch.stack(terms).mean(), moving_divergence(true, generated, mask)
    torch.testing.assert_close(loss, slow)
    for ours, theirs in zip(
        torch.autograd.grad(loss, [true, generated]),
        torch.autograd.grad(slow, [true, generated]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_the_report_branch_is_the_release_s_loop_over_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """D2, D4, D5 and D18 together, noise apart."""
    model, batch = method().eval(), pairs(FULL)
    monkeypatch.setattr(model, "_quantise", lambda sentences: model.bank(sentences))
    images = model.encode_images(batch.images)
    raw = model._encode_tokens(batch)
    reports = model._pool_report(raw, model.bank(raw.sentences))
    losses = model._generation_terms(images, raw.sentences, reports)
    slots = model.report_decoder(images.local, unread_after(6, images.local.device))
    slot_terms, true, generated, pooled = [], [], [], []
    for b, report in enumerate(FULL):
        n = len(report)
        targets = torch.cat([reports.sentences[b, :n], torch.zeros(6 - n, 16)])
        cost = torch.cdist(slots[b], targets, p=1.0).detach().numpy()
        rows, columns = linear_sum_assignment(cost)
        own = rearrange_slots(slots[b : b + 1], targets[None])[0]
        # Zero targets tie, so the order is compared by its cost and then taken over.
        order = torch.cdist(own, slots[b]).argmin(dim=1).numpy()
        assert cost[rows, order].sum() == pytest.approx(cost[rows, columns].sum(), rel=1e-5)
        slot_terms.append((slots[b][order] - targets).abs().mean())
        true.append(raw.sentences[b, :n] @ model.bank.prototypes.T)
        generated.append(own[:n] @ model.bank.prototypes.T)
        pooled.append(model.sentence_pool(model.bank(own[:n])[None]))
    torch.testing.assert_close(losses["generation"], torch.stack(slot_terms).mean())
    log_true, log_generated = (torch.cat(logits).log_softmax(dim=1) for logits in (true, generated))
    expected = F.kl_div(log_generated, log_true, reduction="batchmean", log_target=True)
    torch.testing.assert_close(losses["divergence"], expected)
    u, v = F.normalize(torch.cat(pooled), dim=1), F.normalize(reports.global_, dim=1)
    logits = model.log_scale.exp() * u @ v.T
    labels = torch.arange(len(FULL))
    expected = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(losses["global_prediction"], expected)
    for name, tensor in (("generation", reports.sentences), ("divergence", raw.sentences)):
        (gradient,) = torch.autograd.grad(losses[name], tensor, retain_graph=True)
        assert gradient.abs().sum() > 0, name


def test_inference_is_noisy_and_seeded() -> None:
    """D6."""
    model = method().eval()
    reports = model.encode_reports(pack([[[5, 6]], [[5, 6]]]))
    assert not torch.allclose(reports.global_[0], reports.global_[1])
    assert torch.equal(reports.global_, model.encode_reports(pack([[[5, 6]], [[5, 6]]])).global_)
    described = method(variant="described").eval().encode_reports(pack([[[5, 6]], [[5, 6]]]))
    torch.testing.assert_close(described.global_[0], described.global_[1])
    # At a low temperature Gumbel noise draws prototypes from the softmax of the logits.
    cold = method(prototype_temperature=0.01, prototypes=3, width=2).eval()
    with torch.no_grad():
        cold.bank.prototypes.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    drawn = cold._quantise(torch.tensor([1.0, 0.5]).expand(1, 20_000, 2))[0]
    shares = [
        (drawn - prototype).abs().sum(dim=1).lt(0.2).float().mean() for prototype in cold.bank.prototypes
    ]
    torch.testing.assert_close(
        torch.stack(shares), torch.tensor([1.0, 0.5, -1.0]).softmax(0), atol=0.03, rtol=0
    )


def test_the_global_score_is_scaled_by_the_logarithm_of_the_scale() -> None:
    """D7."""
    model = method(temperature=0.01).eval()
    images, reports = model.encode_images(pairs(FULL).images), model.encode_reports(pack(FULL))
    scores = model.scores(images, reports)
    cosine = F.cosine_similarity(images.global_[1], reports.global_[2], dim=0)
    torch.testing.assert_close(scores["global"][1, 2], cosine * 4.60517)
    torch.testing.assert_close(scores["local"], Prior.scores(model, images, reports)["local"])


def test_where_slots_are_generated_a_report_ends_with_them() -> None:
    model = method(slots=2).eval()
    short, long = (model.losses(pairs(reports), model.stages[2]) for reports in (FULL[:2], FULL))
    assert all(torch.isfinite(loss) for loss in (*short.values(), *long.values()))
    with torch.no_grad():
        raw = model._encode_tokens(pairs(FULL))
    assert raw.mask.sum(dim=1).tolist() == [2, 2, 6]
    two = raw.sentences[:, :2]
    torch.testing.assert_close(long["prototype"] / 10, (model._quantise(two) - two).abs().mean())


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("reports", [RAGGED, [[]], [[[5]]]])
def test_every_stage_trains(stage: int, reports: list[list[list[int]]]) -> None:
    model = method()
    losses = model.losses(pairs(reports), model.stages[stage])
    assert losses.keys() == model.stages[stage].terms.keys()
    torch.autograd.backward(total_of(losses))
    assert torch.isfinite(total_of(losses))
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
