"""Every method that reads reports: odd reports and odd batches, and what must not matter."""

import pytest
import torch

from prior.methods.base import ReportTokens
from prior.objectives import matching
from prior.reports.tokens import encode_texts, train_tokenizer
from tests.methods.reports import RAGGED, pack
from tests.methods.tiny import READERS, TEXT, TRAINED, batch, build, rows

# Contrasts over the batch: without a second pair there is no negative.
GLOBAL = {"image_to_report", "report_to_image"}
CONTRASTS = {
    "clip": GLOBAL,
    "convirt": GLOBAL,
    "lovt": GLOBAL,
    "gloria": {"global", "local"},
    "mgca": {"instance"},
    "prior": {"global", "global_prediction"},
    "place": {"global", "observation"},
    "aga": {"global", "group_contrast"},
    "mirror": {"contrast"},
}
# What is left where no report has a sentence: special tokens are read, or the image has terms of its own.
WITHOUT_SENTENCES = {
    "clip": GLOBAL,
    "convirt": GLOBAL,
    "prior": {"reconstruction"},
    "place": {"correlation"},
    "mirror": {"image_retention", "image_style"},
}
# They read each sentence by itself, so that a report is the set of its sentences.
READ_ALONE = ["convirt", "gloria"]
QUIET = {"prior": {"mask_ratio": 0.0}, "place": {"mask_ratio": 0.0}, "mirror": {"hidden_ratio": 1.0}}
NOISE_IN_TRAINING = {"prior", "mirror"}


def losses_of(name, reports):
    """Losses of all stages in training mode, after their backward pass; all must be finite."""
    method = build(name)
    every = {}
    for stage in method.stages:
        losses = method.losses(batch(reports), stage)
        assert losses.keys() == stage.terms.keys()
        sum(losses.values()).backward()
        every |= {(stage.name, term): loss for term, loss in losses.items()}
    assert all(loss.isfinite() for loss in every.values())
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    assert gradients
    assert [n for n, gradient in gradients.items() if not gradient.isfinite().all()] == []
    return every


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("report", [[[5, 6], [7], [8, 9]], [[5]]])
def test_a_batch_of_one_has_no_negatives(name, report):
    for (_, term), loss in losses_of(name, [report]).items():
        if term in CONTRASTS.get(name, ()):
            assert loss.item() == pytest.approx(0, abs=1e-6), term


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("reports", [[[]], [[], [], []]])
def test_without_any_sentence_only_the_named_terms_are_left(name, reports):
    for (_, term), loss in losses_of(name, reports).items():
        if term not in WITHOUT_SENTENCES.get(name, ()):
            assert loss.item() == 0, term


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("reports", [[[[5]], [[6]], [[7]]], [[[5], [6]], [[5], [6]], [[7]]], [*RAGGED, []]])
def test_single_sentences_duplicates_and_empty_reports_are_defined(name, reports):
    losses_of(name, reports)


@pytest.mark.parametrize("name", READERS)
def test_reports_beyond_the_token_limit_are_cut_and_train(name, tmp_path):
    words = ["effusion on the left .", "no pneumothorax .", "heart is large ."]
    tokenizer = train_tokenizer(words, 40, tmp_path / "tokenizer.json")
    texts = [words * 6, words[:1]]
    cut = encode_texts(tokenizer, texts, max_tokens=TEXT.max_tokens)
    assert cut["ids"].shape == (2, TEXT.max_tokens)
    assert cut["n_sentences"][0] < len(texts[0])
    method = build(name, text=TEXT.model_copy(update={"vocab_size": tokenizer.get_vocab_size()}))
    given = batch([[[0]]] * 2)
    for field, array in cut.items():
        setattr(given, field, torch.from_numpy(array))
    for stage in method.stages:
        losses = method.losses(given, stage)
        sum(losses.values()).backward()
        assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("training", [False, True])
def test_neither_padding_nor_the_order_of_the_batch_changes_a_loss(name, training):
    if training and name in NOISE_IN_TRAINING:
        pytest.skip("noise falls on other rows")
    reports = RAGGED
    if name in READ_ALONE:
        # One sentence each, since the draw of a sentence falls on other rows, too.
        reports = [[[word for words in report for word in words]] if report else [] for report in RAGGED]
    order = torch.tensor([2, 0, 3, 1])
    values = []
    for given in (batch(reports), batch(reports, padding=4), rows(batch(reports), order)):
        method = build(name, **QUIET.get(name, {})).train(training)
        if name == "prior":
            # Which sentences its bank starts from does depend on their order.
            method.bank.started.fill_(True)
        for stage in method.stages:
            torch.manual_seed(0)
            values.append(torch.stack(list(method.losses(given, stage).values())))
    stages = len(method.stages)
    for k in range(stages):
        plain, padded, permuted = values[k::stages]
        torch.testing.assert_close(padded, plain, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(permuted, plain, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("settings", [{"variant": "described"}, {"variant": "released"}, None])
def test_a_step_has_one_bipartite_matching(settings, monkeypatch):
    calls = []
    solve = matching.min_weight_full_bipartite_matching
    monkeypatch.setattr(
        matching, "min_weight_full_bipartite_matching", lambda graph: calls.append(graph) or solve(graph)
    )
    method = build("place") if settings is None else build("prior", **settings)
    method.losses(batch([*RAGGED, *RAGGED]), method.stages[-1])
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["clip", "place"])
def test_equal_reports_are_negatives_but_in_place_s_observation_term(name):
    method = build(name).eval()
    data = batch([[[5, 6], [7]]] * 3)
    data.images = data.images[:1].expand(3, -1, -1, -1)
    losses = method.losses(data, method.stages[0])
    # Nothing tells the pairs apart, so that each finds its partner with probability 1/3.
    weighted = {"image_to_report": 0.5, "report_to_image": 0.5, "global": 1.0, "observation": 1.0}
    for term, loss in losses.items():
        if term in weighted:
            assert loss.item() == pytest.approx(weighted[term] * torch.tensor(3.0).log().item(), abs=1e-4)
    data.images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    losses = method.losses(data, method.stages[0])
    repelled = losses.get("report_to_image", losses.get("global"))
    assert repelled.item() > 0.5 * torch.tensor(3.0).log().item()


@pytest.mark.parametrize("name", READ_ALONE)
def test_the_order_of_the_sentences_does_not_change_a_report(name):
    method = build(name).eval()
    straight: ReportTokens = pack(RAGGED)
    turned = pack([report[::-1] for report in RAGGED])
    expected = method.encode_reports(straight).global_
    torch.testing.assert_close(method.encode_reports(turned).global_, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", READERS)
def test_padding_and_the_other_reports_do_not_change_an_embedding(name):
    method = build(name).eval()
    together = method.encode_reports(pack(RAGGED, padding=3)).global_
    for embedding, report in zip(together, RAGGED, strict=True):
        alone = method.encode_reports(pack([report])).global_[0]
        torch.testing.assert_close(embedding, alone, atol=1e-5, rtol=1e-4)
