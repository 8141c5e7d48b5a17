"""Ablations: every part of PRIOR, LoVT and PLACE off by itself, and every combination trained one step."""

from importlib import import_module
from itertools import combinations

import pytest
import torch

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods import METHODS
from prior.methods.base import Method
from tests.methods.reports import RAGGED, pack, pairs

IMAGE = ImageEncoderConfig(name="test_resnet", input_size=32)
TEXT = TextEncoderConfig(vocab_size=40, width=16, layers=1, heads=2, max_tokens=32, dropout=0.0)
SIZES = {
    "prior": {"width": 16, "heads": 2, "prototypes": 8, "slots": 4, "image_decoder_channels": 8},
    "lovt": {"dim": 8, "hidden": 12, "heads": 2},
    "place": {"width": 16, "heads": 2, "queries": 3, "correlation_width": 8, "idf_buckets": 64},
}
TERMS = {
    "prior": {
        "local": {"local_image", "local_text"},
        "bank": {"prototype", "divergence"},
        "image_reconstruction": {"reconstruction"},
        "report_reconstruction": {"generation", "divergence", "global_prediction"},
    },
    "lovt": {
        "global": {"image_to_report", "report_to_image"},
        "local_image": {"region_to_context", "context_to_region"},
        "local_text": {"sentence_to_context", "context_to_sentence"},
    },
    "place": {part: {part} for part in ("global", "observation", "pair", "correlation")},
}
# The output norm of the direction that is off.
UNREACHED = {"lovt": {"cross_attention.region_norm", "cross_attention.sentence_norm"}}


def build(name: str, parts: tuple[str, ...] | None = None, **settings: object) -> Method:
    torch.manual_seed(0)
    chosen = {**SIZES[name], **settings} if parts is None else {**SIZES[name], **settings, "parts": parts}
    return import_module(METHODS[name]).build(chosen, IMAGE, TEXT)


def terms_of(method: Method) -> set[str]:
    return {term for stage in method.stages for term in stage.terms}


@pytest.mark.parametrize(("name", "part"), [(name, part) for name in TERMS for part in TERMS[name]])
def test_a_part_off_removes_its_terms_and_no_others(name: str, part: str) -> None:
    whole = build(name)
    method = build(name, tuple(p for p in TERMS[name] if p != part))
    assert terms_of(whole) - terms_of(method) == TERMS[name][part]
    assert terms_of(method) < terms_of(whole)
    for stage, full in zip(method.stages, whole.stages, strict=True):
        assert stage.terms.items() <= full.terms.items()
        assert (stage.name, stage.epochs, stage.learning_rate) == (full.name, full.epochs, full.learning_rate)


def test_all_parts_are_the_default() -> None:
    for name, parts in TERMS.items():
        named, default = build(name, tuple(parts)).state_dict(), build(name).state_dict()
        assert named.keys() == default.keys()
        assert all(torch.equal(named[key], default[key]) for key in named)


CASES = [
    (name, parts, variant)
    for name in TERMS
    for size in range(len(TERMS[name]) + 1)
    for parts in combinations(TERMS[name], size)
    if parts or name == "prior"
    for variant in (["described", "released"] if name == "prior" else [None])
]


@pytest.mark.parametrize(("name", "parts", "variant"), CASES)
def test_every_combination_trains_all_that_it_builds(
    name: str, parts: tuple[str, ...], variant: str | None
) -> None:
    method = build(name, parts, **({"variant": variant} if variant else {}))
    for stage in method.stages:
        losses = method.losses(pairs(RAGGED), stage)
        assert losses.keys() == stage.terms.keys()
        total = torch.stack(list(losses.values())).sum()
        assert torch.isfinite(total)
        torch.autograd.backward(total)
    gradients = {key: p.grad for key, p in method.named_parameters()}
    missing = {key.rsplit(".", 1)[0] for key, gradient in gradients.items() if gradient is None}
    assert missing <= UNREACHED.get(name, set())
    assert all(torch.isfinite(g).all() for g in gradients.values() if g is not None)
    for encoder in ("image_encoder", "text_encoder"):
        reached = [g for key, g in gradients.items() if key.startswith(encoder) and g is not None]
        assert any(g.abs().sum() > 0 for g in reached), encoder
    method.eval()
    with torch.inference_mode():
        images, reports = method.encode_images(torch.rand(3, 1, 32, 32)), method.encode_reports(pack(RAGGED))
        assert images.local.shape[:2] == (3, images.grid[0] * images.grid[1])
        for score in method.scores(images, reports).values():
            assert score.shape == (3, 4)
            assert score.isfinite().all()


def test_local_scores_need_a_part_that_trains_them() -> None:
    for name, parts, expected in [
        ("prior", ("bank", "image_reconstruction"), {"global"}),
        ("prior", ("local",), {"global", "local"}),
        ("place", ("global", "correlation"), {"global"}),
        ("place", ("pair",), {"global", "local"}),
    ]:
        method = build(name, parts).eval()
        features = method.encode_images(torch.rand(1, 1, 32, 32)), method.encode_reports(pack(RAGGED))
        assert method.scores(*features).keys() == expected


def test_lovt_without_pools_weighs_items_equally() -> None:
    method = build("lovt", ("local_image", "local_text")).eval()
    images, weights = method._encode_images(torch.rand(2, 1, 32, 32))
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / weights.shape[1]))
    torch.testing.assert_close(images.global_, images.local.mean(dim=1))
    reports, weights = method._encode_tokens(pack(RAGGED))
    for b, report in enumerate(RAGGED):
        n = len(report)
        assert weights[b].tolist() == pytest.approx(
            [1 / n] * n + [0] * (weights.shape[1] - n) if n else [0] * 6
        )
        if n:
            torch.testing.assert_close(reports.global_[b], reports.sentences[b, :n].mean(dim=0))


@pytest.mark.parametrize(("name", "parts"), [("prior", ("gobal",)), ("lovt", ()), ("place", ())])
def test_wrong_parts_are_named(name: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=f"{name}: parts"):
        build(name, parts)
