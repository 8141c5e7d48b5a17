"""From a file to a bundle, by hand and by the rule of pre-training."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional
from typer.testing import CliRunner

from prior import params
from prior.cli import app
from prior.encoders.bundle import build_method, load_bundle
from prior.errors import InputError
from prior.graph import BUNDLE_FILES, Graph
from prior.importing.contamination import contamination
from prior.methods import imported
from prior.tasks.embeddings import Embedder
from tests.importing.pairs import PAIRS
from tests.importing.sources import SOURCES
from tests.importing.towers import REPORTS, WORDS

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """MGCA's layout on a small ViT, as Lightning wrote it."""
    path = tmp_path_factory.mktemp("released") / "mgca.ckpt"
    torch.save({"epoch": 3, "state_dict": SOURCES["mgca_vit"]().weights}, path)
    return path


def call(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output


def test_by_hand(checkpoint, tmp_path, caplog):
    caplog.set_level("INFO")
    out = tmp_path / "mgca"
    call("import", checkpoint, "--out", out, "--encoder", "test_vit", "--size", 64)
    bundle = load_bundle(out)
    assert (bundle.info.method, bundle.info.variant) == ("imported", "mgca")
    assert bundle.info.settings["layout"] == "mgca_vit"
    assert bundle.info.image.input_size == 64
    assert bundle.info.data == {"checkpoint": hashlib.sha256(checkpoint.read_bytes()).hexdigest()}
    assert bundle.info.pretraining_data == "imagenet+mimic_cxr"
    assert not bundle.has_text
    trained_on = bundle.info.settings["trained_on"]
    assert contamination(trained_on, "mimic_cxr") == "labels"
    assert contamination(trained_on, "rsna") == "none"
    source = SOURCES["mgca_vit"]()
    with torch.inference_mode():
        images = torch.rand(2, 1, 64, 64)
        expected = source.last_map(((images - 0.5) / 0.5).expand(-1, 3, -1, -1))
        torch.testing.assert_close(bundle.image_encoder()(images)[-1], expected, atol=1e-4, rtol=1e-4)
    said = caplog.text
    assert "recognised as mgca_vit, MGCA (ViT-B/16)" in said
    assert "of test_vit at 64 px, trained at 224 px; 2 left out" in said


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Both towers in MGCA's layout, and the folder of the tokenizer."""
    folder = tmp_path_factory.mktemp("pair")
    torch.save({"state_dict": PAIRS["mgca_vit"]().weights}, folder / "mgca.ckpt")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


def test_with_a_tokenizer_the_text_side_comes_too(both, tmp_path, caplog):
    caplog.set_level("INFO")
    out = tmp_path / "mgca"
    size = ["--encoder", "test_vit", "--size", 64]
    call("import", both / "mgca.ckpt", "--out", out, *size, "--tokenizer", both)
    bundle = load_bundle(out)
    assert bundle.has_text
    assert (bundle.info.text.vocab_size, bundle.info.text.max_tokens) == (len(WORDS), 112)
    assert "5 layers of width 64, 18 words, at most 112 tokens" in caplog.text
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    embedder = Embedder(bundle)
    images, texts = embedder.images(pixels, np.arange(3)), embedder.texts(REPORTS)
    assert (images.shape, texts.shape) == ((3, 48), (2, 48))
    pair = PAIRS["mgca_vit"]()
    with torch.inference_mode():
        ids = torch.tensor(
            [WORDS.index(word) for word in ["[CLS]", "the", "heart", "is", "large", "##r", ".", "[SEP]"]]
        )
        torch.testing.assert_close(texts[1:], functional.normalize(pair.text(ids)), atol=2e-2, rtol=0)
    # The rows of every task carry the same mark.
    assert contamination(bundle.info.settings["trained_on"], "mimic_cxr") == "labels"
    call("import", both / "mgca.ckpt", "--out", tmp_path / "alone", *size)
    assert not load_bundle(tmp_path / "alone").has_text
    assert "image encoder alone, `tokenizer` adds the text side" in caplog.text


@pytest.mark.parametrize(
    ("layout", "own", "words"),
    [
        ("mgca_vit", {}, r"recognised as mgca_vit, .*: the file holds no text encoder"),
        ("carzero", {}, r"recognised as carzero, .*: no text side of it can be imported, docs/import\.md"),
        ("mgca_vit", {"tokenizer": None, "text_checkpoint": "x"}, "`text_checkpoint` needs `tokenizer`"),
    ],
)
def test_a_text_side_that_is_not_there_is_said(layout, own, words, both, tmp_path):
    path = tmp_path / "released.pth"
    torch.save(SOURCES[layout]().weights, path)
    with pytest.raises(InputError, match=words):
        run(path, tmp_path / "b", **{"tokenizer": str(both), **own})
    assert not (tmp_path / "b").exists()


def settings(checkpoint, **own):
    given = {"checkpoint": str(checkpoint), "layout": "auto", "encoder": "test_vit", **own}
    return {
        "method": "imported",
        "variant": "mgca",
        "settings": given,
        "seed": 0,
        "image": {"size": 32, "fit": "pad"},
        "bundle": "imported-mgca-s0",
    }


def run(checkpoint, out, **own):
    given = json.dumps(settings(checkpoint, **own))
    call("pretrain", "--settings", given, "--data", "none", "--tokens", "none", "--out", out / "bundle.json")
    return load_bundle(out)


def test_by_the_rule(checkpoint, tmp_path):
    first, second = (run(checkpoint, tmp_path / name / "imported-mgca-s0") for name in "ab")
    assert {path.name for path in first.path.iterdir()} == {*BUNDLE_FILES, "run.json"}
    for file in BUNDLE_FILES:
        assert (first.path / file).read_bytes() == (second.path / file).read_bytes()
    assert first.image_encoder()(torch.rand(1, 1, 32, 32))[-1].shape == (1, 64, 2, 2)
    method = build_method(first.info)
    assert method.stages == []
    with pytest.raises(InputError, match="imported reads no text"):
        method.encode_reports(None)


def test_what_the_user_says_replaces_the_layout(checkpoint, tmp_path):
    corpora = [{"corpus": "padchest", "used": ["images"]}]
    info = run(checkpoint, tmp_path / "b", mean=0.3, std=0.2, trained_on=corpora).info
    assert (info.image.mean, info.image.std) == (0.3, 0.2)
    assert info.pretraining_data == "padchest"
    assert info.settings["trained_on"] == [{"corpus": "padchest", "used": ["images"], "part": "all"}]
    unknown = run(checkpoint, tmp_path / "c", trained_on=[]).info
    assert unknown.pretraining_data == ""
    assert contamination(unknown.settings["trained_on"], "rsna") == "unknown"


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"layout": "gloria"}, r"checkpoint .*mgca\.ckpt: .* do not have layout gloria"),
        (
            {"encoder": "resnet18"},
            r"checkpoint .*mgca\.ckpt: recognised as mgca_vit, .* does not fit resnet18",
        ),
        ({"encoder": None}, "size of the network"),
        (
            {"trained_on": [{"corpus": "mimic"}]},
            r"settings of method imported: trained_on\.0\.corpus: `mimic` is none",
        ),
        ({"weights": "x"}, "settings of method imported: weights"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_left(own, words, checkpoint, tmp_path):
    with pytest.raises(InputError, match=words):
        run(checkpoint, tmp_path / "b", **own)
    assert not (tmp_path / "b").exists()


def test_a_checkpoint_is_not_pre_trained():
    with pytest.raises(InputError, match="trains nothing; `prior import`"):
        imported.build({"checkpoint": "x"}, None, None)


def with_imported(project, checkpoint, own=None, **pretraining):
    config = yaml.safe_load((PROJECT / "params.yaml").read_text())
    config["methods"] = ["random", "released"]
    own = {"checkpoint": checkpoint, "layout": "auto", **(own or {})}
    config["method_settings"]["released"] = {"method": "imported", "variant": "mgca", "settings": own}
    config["pretraining"] |= pretraining
    return Graph(params.validate(config), project)


def test_one_line_of_params_brings_it_into_every_evaluation(tmp_path):
    (tmp_path / "mgca.ckpt").touch()
    graph = with_imported(tmp_path, "mgca.ckpt")
    graph.check_weights()
    found = graph.pretrain_settings("imported-mgca-s0")
    assert found["settings"] == {"checkpoint": str(tmp_path / "mgca.ckpt"), "layout": "auto"}
    assert found == with_imported(tmp_path, "mgca.ckpt", epochs=99).pretrain_settings("imported-mgca-s0")
    jobs = [job for job in graph.jobs() if "imported" in job]
    assert {job.split("/")[0] for job in jobs} == {"classification", "segmentation", "detection"}
    assert graph.trained() == []
    assert not graph.has_variants()
    assert graph.code("pretrain", "imported-mgca-s0") != graph.code("pretrain", "random-default-s0")


def test_with_a_tokenizer_it_gets_the_jobs_that_read_text(tmp_path):
    (tmp_path / "mgca.ckpt").touch()
    (tmp_path / "bert").mkdir()
    graph = with_imported(tmp_path, "mgca.ckpt", {"tokenizer": "bert"})
    jobs = {job.split("/")[0] for job in graph.jobs() if "imported" in job}
    assert {"zero_shot", "retrieval", "grounding"} & set(graph.tasks()) <= jobs
    assert {"zero_shot", "retrieval"} <= jobs
    own = graph.pretrain_settings("imported-mgca-s0")["settings"]
    assert own["tokenizer"] == str(tmp_path / "bert")
    on_hub = with_imported(tmp_path, "mgca.ckpt", {"tokenizer": "emilyalsentzer/Bio_ClinicalBERT"})
    own = on_hub.pretrain_settings("imported-mgca-s0")["settings"]
    assert own["tokenizer"] == "emilyalsentzer/Bio_ClinicalBERT"
    missing = with_imported(tmp_path, "mgca.ckpt", {"tokenizer": "bert", "text_checkpoint": "none.bin"})
    with pytest.raises(InputError, match=r"settings\.text_checkpoint: none\.bin is not an existing"):
        missing.check_weights()


@pytest.mark.parametrize("checkpoint", [None, "none.ckpt"])
def test_a_missing_checkpoint_stops_before_work(checkpoint, tmp_path):
    with pytest.raises(
        InputError, match=r"method_settings\.released\.settings\.checkpoint: .*not an existing file"
    ):
        with_imported(tmp_path, checkpoint).check_weights()
