"""Pieces of the tasks with known answers."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from prior.data.files import read_json, write_json
from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import load_bundle
from prior.errors import InputError
from prior.protocols import load_protocol, load_sources
from prior.tasks.base import Cell, cell_seed, refusal
from prior.tasks.dense import dense_source
from prior.tasks.detection import prediction_rows
from prior.tasks.detector import Detector, Pyramid
from prior.tasks.features import cached_features, extract_features
from prior.tasks.finetune import batches
from prior.tasks.labels import finding_names, label_matrix, long_predictions
from prior.tasks.linear_head import ClassificationJob
from prior.tasks.linear_probe import auroc, fit_probe, select_c
from prior.tasks.maps import EncodedMaps
from prior.tasks.mask_heads import UNetHead
from prior.tasks.mask_losses import cross_entropy_and_dice
from prior.tasks.mask_threshold import best_threshold
from prior.tasks.simple_pyramid import SimplePyramid

HEAD = load_protocol("strict_small", "detection", "frozen")["head"]
SOLVER = {"tolerance": 1e-8, "iterations": 2000}


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=30))
def test_auroc_agrees_with_scikit_learn(pairs):
    scores, labels = np.array(pairs, dtype=float).T
    if 0 < labels.sum() < len(labels):
        assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_rotated_probe_is_the_plain_probe():
    rng = np.random.default_rng(0)
    x, other = rng.normal(size=(20, 60)), rng.normal(size=(7, 60))
    y = np.array([0, 1] * 10, dtype=float)
    probe, unfit = fit_probe(x, np.stack([y, np.ones(20)], axis=1), 0.1, **SOLVER)
    scores = probe(other)
    plain = LogisticRegression(C=0.1, tol=1e-8, max_iter=2000).fit(x, y).predict_proba(other)[:, 1]
    np.testing.assert_allclose(scores[:, 0], plain, atol=1e-5)
    assert unfit == [1]
    assert (scores[:, 1] == 0.5).all()


def test_perfect_feature_scores_one_and_a_missing_class_takes_the_fallback():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60).astype(float)[:, None]
    x = np.concatenate([y * 4 - 2, rng.normal(size=(60, 5))], axis=1)
    patients = np.repeat(np.arange(30), 2).astype(object)
    chosen = select_c(x, y, patients, [0.01, 1.0], 3, 0.5, **SOLVER)
    assert max(chosen.scores.values()) == 1.0
    assert select_c(x, np.ones_like(y), patients, [0.01, 1.0], 3, 0.5, **SOLVER).c == 0.5
    assert select_c(x[:2], y[:2], patients[:2], [0.01, 1.0], 3, 0.5, **SOLVER).c == 0.5


@settings(max_examples=20)
@given(st.integers(0, 2**20))
def test_threshold_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    target = rng.random((3, 6, 6)) < 0.3
    probability = (0.4 * target + 0.6 * rng.random(target.shape)).astype(np.float32)
    threshold, dice = best_threshold(probability, target)

    def at(t):
        predicted = probability >= t
        return 2 * (predicted & target).sum() / (predicted.sum() + target.sum())

    grid = np.arange(1, 20) / 20
    assert dice == pytest.approx(max(at(t) for t in grid))
    assert at(threshold) == pytest.approx(dice)


def test_threshold_without_positives_is_undefined():
    threshold, dice = best_threshold(np.zeros((2, 4, 4), np.float32), np.zeros((2, 4, 4), bool))
    assert threshold == 0.5
    assert np.isnan(dice)


def test_mask_loss_by_hand():
    logits, target = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]])
    dice = (2 * 0.5 + 1) / (1 + 1 + 1)
    assert cross_entropy_and_dice(logits, target).item() == pytest.approx(np.log(2) + 1 - dice)
    assert cross_entropy_and_dice(torch.full((2, 4, 4), -20.0), torch.zeros(2, 4, 4)).item() == pytest.approx(
        0, abs=1e-6
    )


def test_unet_head_starts_at_the_prevalence_and_takes_repeated_strides():
    head = UNetHead([4, 8, 8], [8, 8, 8], prevalence=0.2).eval()
    torch.nn.init.zeros_(head.logits.weight)
    maps = [torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4), torch.rand(2, 8, 4, 4)]
    probability = head(maps, 32).sigmoid()
    assert probability.shape == (2, 32, 32)
    assert torch.allclose(probability, torch.tensor(0.2), atol=1e-6)


@pytest.mark.parametrize("strides", [[8, 16, 16], [16, 16], [8, 16, 32], [4, 8, 16, 32]])
def test_pyramid_returns_the_wanted_levels(strides):
    pyramid = Pyramid([5] * len(strides), strides, [8, 16, 32], 16)
    maps = [torch.rand(2, 5, 96 // s, 96 // s) for s in strides]
    assert [tuple(level.shape) for level in pyramid(maps)] == [(2, 16, 96 // s, 96 // s) for s in (8, 16, 32)]


@pytest.mark.parametrize(("stride", "wanted"), [(16, [8, 16, 32]), (16, [4, 8, 16, 32]), (14, [8, 16, 32])])
def test_a_vit_gets_a_pyramid_of_its_last_map(stride, wanted):
    torch.manual_seed(0)
    pyramid = Pyramid([8] * 4, [stride] * 4, wanted, 16)
    assert pyramid.strides == [stride / scale for scale in (4, 2, 1, 0.5)][-len(wanted) :]
    last = torch.rand(2, 8, 8, 8)
    levels = pyramid([torch.rand(2, 8, 8, 8)] * 3 + [last])
    again = pyramid([torch.rand(2, 8, 8, 8)] * 3 + [last])
    assert all(a.equal(b) for a, b in zip(levels, again, strict=True))
    assert [level.shape[2] for level in levels] == [8 * stride // s for s in wanted]
    torch.stack([level.sum() for level in levels]).sum().backward()
    assert all(part.grad is not None for part in pyramid.parameters())


def test_simple_pyramid_scales_and_pools():
    spread = SimplePyramid(8, [4.0, 2.0, 1.0, 0.5])
    last = torch.rand(1, 8, 5, 5)
    found = spread([torch.rand(1, 8, 5, 5), last])
    assert [tuple(m.shape[1:]) for m in found] == [(2, 20, 20), (4, 10, 10), (8, 5, 5), (8, 3, 3)]
    assert found[2].equal(last)
    assert found[3][0, :, 0, 0].equal(last[0, :, :2, :2].amax(dim=(1, 2)))


def test_detector_learns_from_negatives_and_keeps_boxes_inside():
    torch.manual_seed(0)
    detector = Detector([5, 5], [8, 16], 96, HEAD)
    maps = [torch.rand(2, 5, 12, 12), torch.rand(2, 5, 6, 6)]
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = detector.losses(maps, [none, none])
    assert losses["classification"] > 0
    assert losses["bbox_regression"] == 0
    found = detector.eval().detect(maps)
    assert len(found) == 2
    for one in found:
        assert len(one["boxes"]) <= HEAD["boxes"]
        assert one["boxes"].min() >= 0
        assert one["boxes"].max() <= 96


def test_prediction_rows_list_every_image_once():
    test = pd.DataFrame({"image_id": ["a", "b"], "patient_id": ["p", "q"], "row": [0, 1]})
    found = [
        {"boxes": torch.tensor([[0.0, 0, 1, 1]]), "scores": torch.tensor([0.5])},
        {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0)},
    ]
    frame = prediction_rows(test, {"b": np.array([[1, 2, 3, 4]], np.float32)}, found)
    assert frame["kind"].tolist() == ["image", "image", "truth", "prediction"]
    assert frame["image_id"].tolist() == ["a", "b", "b", "a"]
    assert frame.loc[2, ["x_min", "y_min", "x_max", "y_max"]].tolist() == [1, 2, 3, 4]
    assert frame["score"].isna().tolist() == [True, True, True, False]


def test_batches_hold_the_share_of_positives_and_repeat_small_sets():
    positive = np.array([True] * 3 + [False] * 20)
    drawn = list(batches(positive, 8, 5, 0.5, np.random.default_rng(0)))
    assert all(positive[chosen].sum() == 4 for chosen in drawn)
    plain = np.concatenate(list(batches(positive, 23, 2, None, np.random.default_rng(0))))
    assert sorted(plain) == sorted(list(range(23)) * 2)
    assert len(next(batches(np.ones(3, bool), 8, 1, 0.5, np.random.default_rng(0)))) == 8


def test_labels_follow_the_protocol(tiny):
    data = PreparedDataset(tiny["data"])
    protocol = load_protocol("strict_small", "classification", "linear")
    names = finding_names(data, protocol)
    assert names == ["Effusion", "Nodule"]
    ids = pd.Series(["i0000", "i0001", "unread"])
    matrix = label_matrix(data, ids, names, protocol)
    assert matrix[:2, 0].tolist() == [1.0, 0.0]
    assert np.isnan(matrix[0, 1])
    assert matrix[1, 1] == 0.0
    assert np.isnan(matrix[2]).all()
    images = pd.DataFrame({"image_id": ids, "patient_id": ["p", "p", "q"]})
    assert len(long_predictions(images, names, np.zeros((3, 2)), matrix)) == 3


def test_cached_maps_are_what_the_encoder_gives(tiny):
    data, bundle = PreparedDataset(tiny["data"]), load_bundle(tiny["bundle"])
    features = cached_features(tiny["cache"], bundle, data, levels=True, fit="pad")
    maps = EncodedMaps(bundle.image_encoder(), data.pixels(32), torch.device("cpu")).eval()
    rows = np.array([5, 70, 119])
    with torch.inference_mode():
        computed = maps(rows)
    # Float16's rounding is 2^-11 of the value, bfloat16's arithmetic would be off by 2^-8.
    for level, cached in zip(computed, features.levels, strict=True):
        assert torch.allclose(level, torch.from_numpy(cached[rows].astype(np.float32)), rtol=5e-4, atol=1e-5)
    assert np.allclose(features.pooled[rows], computed[-1].mean(dim=(2, 3)), atol=1e-5)


def test_features_are_computed_once_and_again_when_stale_or_without_maps(tiny, tmp_path, monkeypatch):
    data, bundle = PreparedDataset(tiny["data"]), load_bundle(tiny["bundle"])
    calls = []

    def counted(*arguments):
        calls.append(arguments[3])
        return extract_features(*arguments)

    monkeypatch.setattr("prior.tasks.features.extract_features", counted)
    manifest = tmp_path / bundle.name / f"{data.name}-pad" / "manifest.json"
    for levels in (False, False, True, True, False):
        found = cached_features(tmp_path, bundle, data, levels, "pad")
        assert bool(found.levels) == levels
    assert calls == [False, True]
    for key in ("content_hash", "weights", "code"):
        write_json(manifest, {**read_json(manifest), "identity": {key: "other"}})
        cached_features(tmp_path, bundle, data, True, "pad")
    assert calls == [False, True, True, True, True]
    manifest.unlink()
    cached_features(tmp_path, bundle, data, True, "pad")
    assert len(calls) == 6


def test_batch_norm_statistics_stay(tiny):
    data, bundle = PreparedDataset(tiny["data"]), load_bundle(tiny["bundle"])
    maps = EncodedMaps(bundle.image_encoder(), data.pixels(32), torch.device("cpu")).train()
    before = {k: v.clone() for k, v in maps.encoder.state_dict().items() if "running" in k}
    assert before
    maps(np.arange(8))[-1].sum().backward()
    assert all(maps.encoder.state_dict()[k].equal(v) for k, v in before.items())
    assert all(p.grad is not None for p in maps.encoder.parameters())


def test_seeds_differ_between_cells_and_small_cells_are_refused(tiny):
    data = PreparedDataset(tiny["data"])
    protocol = load_protocol("strict_small", "segmentation", "frozen")
    cells = [Cell(f, s, k) for f in (0.1, 1.0) for s in (0, 1) for k in (None, 0)]
    assert len({cell_seed(data, protocol, cell) for cell in cells}) == len(cells)
    assert refusal(protocol, 16, 2, 2) is None
    assert "positive" in str(refusal(protocol, 16, 1))
    assert "negative" in str(refusal(protocol, 16, 4, 1))


@pytest.mark.parametrize(
    ("task", "setting"),
    [
        ("classification", "linear"),
        ("classification", "finetune"),
        ("zero_shot", "prompts"),
        ("retrieval", "pairs"),
        ("segmentation", "frozen"),
        ("segmentation", "finetune"),
        ("detection", "frozen"),
        ("detection", "finetune"),
    ],
)
def test_every_knob_has_a_source(task, setting):
    protocol, sources = (f("strict_small", task, setting) for f in (load_protocol, load_sources))
    assert protocol.knobs.keys() == sources.keys()
    assert all(sources.values())
    with pytest.raises(InputError, match="does not state `nothing`"):
        protocol["nothing"]


def test_fine_tuning_starts_from_standardised_features_and_unchanged_statistics(tiny):
    data, bundle = PreparedDataset(tiny["data"]), load_bundle(tiny["bundle"])
    protocol = load_protocol("strict_small", "classification", "finetune")
    protocol = protocol.model_copy(update={"knobs": {**protocol.knobs, "precision": "fp32"}})
    source = dense_source(bundle, data, protocol, None)
    before = {k: v.clone() for k, v in source.maps.encoder.state_dict().items()}
    rows, labels = np.arange(40), np.tile([[0.0], [1.0]], (20, 1))
    job = ClassificationJob(source, (rows, labels), (rows[:4], labels[:4]), 1e-4, protocol)
    assert all(source.maps.encoder.state_dict()[k].equal(v) for k, v in before.items())
    with torch.inference_mode():
        standardised = (job._pooled(rows) - job.centre) / job.spread
    assert torch.allclose(standardised.mean(dim=0), torch.zeros(1), atol=1e-3)
    varying = job.spread > 1e-6
    assert varying.any()
    assert torch.allclose(standardised.std(dim=0)[varying], torch.ones(1), atol=1e-2)
