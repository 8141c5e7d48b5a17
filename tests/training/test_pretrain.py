import csv
import hashlib
import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from prior.data.files import write_json
from prior.encoders.bundle import build_method, load_bundle
from prior.errors import InputError
from prior.methods import METHODS
from prior.methods.base import ReportTokens as TokenBatch
from prior.reports.tokens import ReportTokens, train_tokenizer
from prior.training import loop
from prior.training import pretrain as stage
from prior.training.initial import prepare_method
from prior.training.settings import PretrainSettings

STUDIES = [f"s{k}" for k in range(7)]
VOCABULARY = 20
SETTINGS = {
    "method": "convirt",
    "variant": "default",
    "settings": {"dim": 8},
    "seed": 0,
    "preset": "strict",
    "image": {"size": 32, "fit": "pad"},
    "image_encoder": {"name": "test_resnet"},
    "text_encoder": {"width": 16, "layers": 1, "heads": 2},
    "epochs": 3,
    "batch_size": 4,
}


class Prepared:
    """Seven studies, the first with two images."""

    def __init__(self, root):
        self.root = root
        self.name = "toy"
        self.manifest = {"content_hash": "h", "simulated": True, "patient_family": "toy"}

    @property
    def labels(self):
        import pandas as pd

        present = [float(k % 2) for k in range(8)]
        return pd.DataFrame(
            {"image_id": [f"i{k}" for k in range(8)], "edema": present, "mass": present[::-1]}
        )

    @property
    def findings(self):
        return list(self.labels.columns[1:])

    def select(self, preset, seed, split):
        import pandas as pd

        studies = ["s0", *STUDIES]
        return pd.DataFrame(
            {
                "image_id": [f"i{k}" for k in range(8)],
                "row": range(8),
                "patient_id": [f"p{s}" for s in studies],
                "study_id": studies,
            }
        )

    def pixels(self, size, fit):
        return np.random.default_rng(0).integers(0, 256, (8, size, size), dtype=np.uint8)


@pytest.fixture
def tokens_root(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "PreparedDataset", Prepared)
    root = tmp_path / "tokens"
    root.mkdir()
    rng = np.random.default_rng(0)
    rows = [([2, *rng.integers(5, VOCABULARY, 4).tolist(), 3], [-1, 0, 0, 1, 1, -1]) for _ in STUDIES]
    ReportTokens.from_rows(rows, STUDIES, 0).save(root / "tokens.npz")
    words = {f"w{k}": k for k in range(VOCABULARY)}
    Tokenizer(WordPiece(words, unk_token="w1")).save(str(root / "tokenizer.json"))
    write_json(root / "manifest.json", {"vocab_size": VOCABULARY, "max_tokens": 12})
    return root


def run(tokens_root, out, **changes):
    base = tokens_root.parent
    stage.pretrain({**SETTINGS, **changes}, base / "data", tokens_root, out, base / "work")
    return load_bundle(out)


def test_a_bundle_comes_out(tokens_root, tmp_path):
    bundle = run(tokens_root, tmp_path / "convirt-default-s0")
    info = bundle.info
    assert (info.n_pretrain_pairs, info.samples_seen, info.simulated) == (7, 21, True)
    assert len(info.trained_on) == 7
    assert not any("p" in key for key in info.trained_on)
    assert bundle.method().encode_images(torch.rand(2, 1, 32, 32)).global_.shape == (2, 8)
    with (bundle.path / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert list(rows[0])[-2:] == ["image_to_report", "report_to_image"]
    manifest = json.loads((bundle.path / "run.json").read_text())
    assert manifest["images_per_second"] > 0
    with (bundle.path / "throughput.csv").open() as file:
        speeds = list(csv.DictReader(file))
    assert [int(speed["step"]) for speed in speeds] == list(range(6))
    assert all(float(s["images_per_second"]) > 0 and int(s["peak_memory_mib"]) > 0 for s in speeds)
    assert not list((tmp_path / "work").rglob("*.pt"))


def test_interrupted_training_gives_the_same_files(tokens_root, tmp_path, monkeypatch):
    whole = run(tokens_root, tmp_path / "whole" / "b")
    original = loop.save_checkpoint

    def killed(path, module, optimizer, progress):
        original(path, module, optimizer, progress)
        if progress["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tokens_root, tmp_path / "parts" / "b")
    monkeypatch.setattr(loop, "save_checkpoint", original)
    resumed = run(tokens_root, tmp_path / "parts" / "b")
    for file in ["bundle.json", "image_encoder.safetensors", "model.safetensors", "training.csv"]:
        assert (whole.path / file).read_bytes() == (resumed.path / file).read_bytes(), file


def test_random_saves_the_common_initial_encoder(tokens_root, tmp_path):
    bundle = run(tokens_root, tmp_path / "random-default-s0", method="random", settings={})
    assert not bundle.has_text
    assert bundle.info.samples_seen == 0
    assert not (bundle.path / "tokenizer.json").exists()
    encoder = bundle.image_encoder().state_dict()
    for method, settings in [("convirt", {"dim": 8}), ("prior", {"width": 16, "variant": "described"})]:
        chosen = PretrainSettings.parse({**SETTINGS, "method": method, "settings": settings})
        start = prepare_method(chosen, tokens_root)[0].image_encoder.state_dict()
        assert all(torch.equal(encoder[name], start[name]) for name in encoder), method


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_imagenet_leaves_the_weights_that_it_was_given(tokens_root, tmp_path, suffix):
    path = tmp_path / f"weights.{suffix}"
    network = timm.create_model("test_resnet")
    {"safetensors": save_file, "pth": torch.save}[suffix](network.state_dict(), path)
    given = {"method": "imagenet", "variant": "timm", "settings": {"weights": str(path)}}
    bundle = run(tokens_root, tmp_path / "imagenet-timm-s0", **given)
    assert not bundle.has_text
    assert bundle.info.data["image_encoder"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(tmp_path) not in (bundle.path / "bundle.json").read_text()
    read, own = bundle.image_encoder().network.state_dict(), network.state_dict()
    first = "conv1.0.weight"
    torch.testing.assert_close(read.pop(first), own[first].sum(dim=1, keepdim=True))
    assert all(torch.equal(value, own[name]) for name, value in read.items())
    assert build_method(bundle.info).encode_images(torch.rand(2, 1, 32, 32)).global_.isfinite().all()


def test_imagenet_without_weights_ends_before_work(tokens_root, tmp_path):
    with pytest.raises(InputError, match="method imagenet: weights: null; give a file, or `hub`"):
        run(tokens_root, tmp_path / "b", method="imagenet", settings={})
    assert not (tmp_path / "b").exists()


def test_text_encoders_start_equal(tokens_root):
    convirt, prior = (
        prepare_method(PretrainSettings.parse({**SETTINGS, "method": m, "settings": s}), tokens_root)[0]
        for m, s in [("convirt", {"dim": 8}), ("prior", {"width": 16, "variant": "described"})]
    )
    start = convirt.text_encoder.state_dict()
    assert all(torch.equal(value, prior.text_encoder.state_dict()[name]) for name, value in start.items())


def batches_of(monkeypatch, tokens_root, **changes):
    """Train, and return the batches that the method was given."""
    given, original = [], loop.Training._step

    def step(self, method, optimizer, stage, batch):
        given.append(batch)
        return original(self, method, optimizer, stage, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "_step", step)
        bundle = run(tokens_root, tokens_root.parent / changes["method"] / "b", **changes)
    return given, bundle


def test_simclr_gets_a_second_view_and_the_others_images(tokens_root, monkeypatch):
    monkeypatch.setitem(METHODS, "simclr", "prior.methods.simclr")
    given, bundle = batches_of(monkeypatch, tokens_root, method="simclr")
    others, _ = batches_of(monkeypatch, tokens_root, method="convirt")
    for own, other in zip(given, others, strict=True):
        assert torch.equal(own.images, other.images)
        assert own.second_view.shape == own.images.shape
        assert not torch.equal(own.second_view, own.images)
        assert own.labels is other.labels is other.second_view is None
    assert not torch.equal(given[0].second_view, given[2].second_view)
    assert not bundle.has_text
    assert not (bundle.path / "tokenizer.json").exists()
    assert bundle.info.samples_seen == 21


def test_supervised_gets_the_labels_of_its_images_and_records_their_names(tokens_root, monkeypatch):
    monkeypatch.setitem(METHODS, "supervised", "prior.methods.supervised")
    monkeypatch.setattr(stage, "augment", lambda images, *rest: images)
    given, bundle = batches_of(monkeypatch, tokens_root, method="supervised", settings={"findings": "all"})
    pixels = torch.from_numpy(Prepared(None).pixels(32, "pad")).unsqueeze(1) / 255
    for batch in given:
        rows = [int((pixels == image).flatten(1).all(dim=1).nonzero()) for image in batch.images]
        assert batch.labels.tolist() == [[row % 2, 1 - row % 2] for row in rows]
        assert batch.second_view is None
    assert bundle.info.settings == {"findings": ["edema", "mass"]}
    rebuilt = build_method(bundle.info)
    rebuilt.load_state_dict(load_file(bundle.path / "model.safetensors"))
    assert rebuilt.findings == ("edema", "mass")
    assert not bundle.has_text


def test_supervised_needs_labels(tokens_root, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "supervised", "prior.methods.supervised")
    monkeypatch.setattr(Prepared, "findings", [])
    for findings in ("all", ["edema"]):
        with pytest.raises(InputError, match="method supervised learns from labels, but toy has none"):
            run(tokens_root, tmp_path / "b", method="supervised", settings={"findings": findings})
    assert not (tmp_path / "b").exists()


def test_the_shuffled_control_is_recorded(tokens_root, tmp_path):
    straight = run(tokens_root, tmp_path / "a" / "b")
    shuffled = run(tokens_root, tmp_path / "c" / "b", shuffle_pairs=True)
    assert shuffled.info.shuffle_pairs
    assert shuffled.info.files != straight.info.files


def test_label_reports_replace_the_written_ones_and_nothing_else(tokens_root, monkeypatch):
    tokenizer = train_tokenizer(["There is no edema.", "There is mass."], 60, tokens_root / "tokenizer.json")
    manifest = {"vocab_size": tokenizer.get_vocab_size(), "max_tokens": 40}
    write_json(tokens_root / "manifest.json", manifest)
    written, straight = batches_of(monkeypatch, tokens_root, method="convirt")
    stated, bundle = batches_of(monkeypatch, tokens_root, method="convirt", reports="labels")
    assert (straight.info.reports, bundle.info.reports) == ("written", "labels")
    same = ("n_pretrain_pairs", "samples_seen", "trained_on")
    assert all(getattr(bundle.info, name) == getattr(straight.info, name) for name in same)
    for own, other in zip(stated, written, strict=True):
        assert torch.equal(own.images, other.images)
        assert (own.n_sentences == 2).all()
    texts = {
        tuple(ids[mask].tolist()) for batch in stated for ids, mask in zip(batch.ids, batch.mask, strict=True)
    }
    # One finding or the other; both where the images of a study differ.
    assert len(texts) == 3


def test_the_variant_of_the_entry_reaches_the_method(tokens_root, tmp_path):
    small = {"width": 16, "prototypes": 8, "heads": 2, "parts": []}
    released = run(tokens_root, tmp_path / "r" / "b", method="prior", variant="released", settings=small)
    assert type(released.method()).__name__ == "ReleasedPrior"
    assert released.info.settings == {**small, "variant": "released"}
    control = {**small, "variant": "described"}
    shuffled = run(tokens_root, tmp_path / "s" / "b", method="prior", variant="shuffled", settings=control)
    assert type(shuffled.method()).__name__ == "Prior"
    assert shuffled.info.variant == "shuffled"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "nope"}, "unknown method 'nope'"),
        ({"epochs": 0}, "epochs"),
        ({"image_encoder": {"name": "nope"}}, r"image_encoder\.name"),
        ({"text_encoder": {"size": 3}}, "size"),
        ({"augmentation": {"flip": 1}}, r"augmentation\.flip"),
        ({"method": "random"}, "random takes no settings; remove dim"),
        ({"method": "prior", "variant": "relased"}, "method prior has no variant `relased`, choose one of"),
        ({"reports": "none"}, "reports"),
    ],
)
def test_wrong_settings_end_before_training(tokens_root, tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        run(tokens_root, tmp_path / "b", **changes)
    assert not (tmp_path / "b").exists()


SMALL = {
    "convirt": {"dim": 8},
    "supervised": {"findings": "all"},
    "prior": {"variant": "described", "width": 16, "prototypes": 8, "heads": 2},
    "place": {"heads": 2},
}
WITHOUT_TEXT = {"random", "imagenet", "simclr", "supervised"}


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"imagenet", "imported"}))
def test_a_method_trains_and_comes_back_from_its_bundle(name, tokens_root, tmp_path):
    bundle = run(tokens_root, tmp_path / "bundle", method=name, settings=SMALL.get(name, {}), epochs=3)
    assert bundle.has_text == (name not in WITHOUT_TEXT)
    method = (bundle.method() if bundle.has_text else build_method(bundle.info)).eval()
    log = (bundle.path / "training.csv").read_text().splitlines()
    assert len(log) == 1 + (6 if method.stages else 0)
    with torch.inference_mode():
        images = method.encode_images(torch.rand(2, 1, 32, 32))
        assert images.global_.isfinite().all()
        assert images.local.shape[:2] == (2, images.grid[0] * images.grid[1])
        if bundle.has_text:
            ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
            sentence = torch.tensor([[-1, 0, 1, -1], [-1, 0, -1, -1]])
            tokens = TokenBatch(ids=ids, mask=ids > 0, sentence=sentence, n_sentences=torch.tensor([2, 1]))
            scores = method.scores(images, method.encode_reports(tokens))
            assert {key: value.shape for key, value in scores.items()} == dict.fromkeys(scores, (2, 2))
            assert all(value.isfinite().all() for value in scores.values())
