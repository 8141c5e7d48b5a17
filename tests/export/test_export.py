import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from prior.cli import app
from prior.encoders.bundle import load_bundle
from prior.encoders.image import ImageEncoderConfig, build_image_encoder
from prior.errors import InputError
from prior.export import export as module
from prior.export import onnx_graph, text_folder
from prior.export.export import export
from prior.export.image_folder import write_image_encoder
from prior.export.model_card import bundle_results, model_card
from prior.metrics.rows import AGGREGATED_COLUMNS, read_rows
from prior.reports.tokens import encode_texts
from tests.export.conftest import IMAGE

SENTENCES = [
    "The heart is enlarged.",
    "1. No effusion, edema or pneumothorax.",
    "(2) Clear.",
    "- Nodule of 3.5 cm in the ___ lung.",
    "3.5 cm nodule.",
    "10.Lungs are clear",
    "  There is\n\n1. no change since ____.  ",
    "• Stable",
    "",
    "There is " * 40,
]

# What someone without this package would do. Importing `prior` is an error there.
ELSEWHERE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "prior":
            raise ImportError("prior is not here")
sys.meta_path.insert(0, Refuse())
import json, numpy, onnxruntime, timm, torch
from transformers import AutoModel, AutoTokenizer
torch.set_num_threads(1)
given = numpy.load("given.npz", allow_pickle=False)
network = timm.create_model("local-dir:out/image_encoder", pretrained=True).eval()
config = network.pretrained_cfg
mean, std = (torch.tensor(config[name]).view(1, -1, 1, 1) for name in ("mean", "std"))
images = (torch.from_numpy(given["images"]) - mean) / std
tokenizer = AutoTokenizer.from_pretrained("out/text_encoder")
model = AutoModel.from_pretrained("out/text_encoder", add_pooling_layer=False).eval()
tokens = tokenizer(json.load(open("sentences.json")), padding=True, truncation=True, return_tensors="pt")
with torch.inference_mode():
    last = network.forward_intermediates(images, intermediates_only=True)[-1]
    found = {"last": last, "features": network(images), "tokens": model(**tokens).last_hidden_state}
session = onnxruntime.InferenceSession("out/image_encoder.onnx", providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
graph = dict(zip(names, session.run(names, {"images": given["images"]})))
arrays = {name: tensor.numpy() for name, tensor in found.items()}
numpy.savez("found.npz", ids=tokens["input_ids"], mask=tokens["attention_mask"], **arrays, **graph)
assert "prior" not in sys.modules
"""


@pytest.fixture(scope="module")
def exported(convirt_bundle, tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    done = CliRunner().invoke(app, ["export", str(convirt_bundle), "--out", str(root / "out")])
    assert done.exit_code == 0, done.exception
    return root


def test_a_program_without_prior_computes_the_same(convirt_bundle, exported):
    images = np.random.default_rng(0).random((5, 1, 32, 32)).astype(np.float32)
    np.savez(exported / "given.npz", images=images)
    (exported / "sentences.json").write_text(json.dumps(SENTENCES))
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        cwd=exported,
        capture_output=True,
        text=True,
        env={"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = np.load(exported / "found.npz")
    bundle = load_bundle(convirt_bundle)
    with torch.inference_mode():
        maps = bundle.image_encoder()(torch.from_numpy(images))
    for number, expected in enumerate(maps):
        np.testing.assert_allclose(found[f"map_{number}"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["last"], maps[-1], rtol=1e-5, atol=1e-5)
    for name in ("pooled", "features"):
        np.testing.assert_allclose(found[name], maps[-1].mean(dim=(2, 3)), rtol=1e-4, atol=1e-4)
    ours = encode_texts(bundle.tokenizer(), [[text] for text in SENTENCES], max_tokens=24)
    np.testing.assert_array_equal(found["ids"], ours["ids"])
    np.testing.assert_array_equal(found["mask"], ours["mask"])
    encoder = bundle.method().text_encoder
    with torch.inference_mode():
        features = encoder(torch.from_numpy(ours["ids"]), torch.from_numpy(ours["mask"]))
    np.testing.assert_allclose(found["tokens"][ours["mask"]], features[ours["mask"]], rtol=1e-5, atol=1e-5)


def test_config_states_architecture_and_preprocessing(exported):
    files = sorted(
        str(file.relative_to(exported)) for file in (exported / "out").rglob("*") if file.is_file()
    )
    assert files == [
        "out/README.md",
        "out/image_encoder.onnx",
        "out/image_encoder/config.json",
        "out/image_encoder/model.safetensors",
        "out/text_encoder/config.json",
        "out/text_encoder/model.safetensors",
        "out/text_encoder/tokenizer.json",
        "out/text_encoder/tokenizer_config.json",
    ]
    assert len({(exported / file).stat().st_mode for file in files}) == 1
    config = json.loads((exported / "out/image_encoder/config.json").read_text())
    assert config["architecture"] == "test_resnet"
    assert config["model_args"]["output_stride"] == 16
    assert config["model_args"]["in_chans"] == 1
    described = config["pretrained_cfg"]
    assert described["input_size"] == [1, 32, 32]
    assert (described["mean"], described["std"]) == ([0.4755], [0.3011])
    assert described["crop_pct"] == 1.0
    # Licence, tag and addresses of timm's own weights would be wrong here.
    assert not described.keys() & {"license", "tag", "hf_hub_id", "url", "origin_url", "paper_ids", "file"}


@pytest.mark.parametrize(
    "settings",
    [{"name": "test_vit", "in_channels": 3}, {"name": "test_resnet", "in_channels": 3, "output_stride": 32}],
)
def test_other_architectures_load(settings, tmp_path):
    import timm

    encoder = build_image_encoder(ImageEncoderConfig(input_size=32, **settings), 0).eval()
    write_image_encoder(encoder, tmp_path / "out")
    loaded = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    assert loaded.pretrained_cfg["mean"] == (0.4755,) * 3 or loaded.pretrained_cfg["mean"] == [0.4755] * 3
    images = (torch.rand(2, 1, 32, 32) - 0.4755) / 0.3011
    with torch.inference_mode():
        expected = encoder.network(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(loaded(images.expand(-1, 3, -1, -1)), expected)


def test_the_tokenizer_cleans_sentences_by_itself(convirt_bundle):
    plain = load_bundle(convirt_bundle).tokenizer()
    ours = encode_texts(plain, [[text] for text in SENTENCES])
    found = text_folder.portable_tokenizer(plain).encode_batch(SENTENCES)
    for row, encoding in enumerate(found):
        assert encoding.ids == ours["ids"][row][ours["mask"][row]].tolist()


def test_a_graph_that_differs_is_refused(exported):
    other = onnx_graph.MapsAndPooled(build_image_encoder(IMAGE, 5)).eval()
    with pytest.raises(InputError, match="output map_0 of the ONNX graph differs"):
        onnx_graph._require_equal(other, exported / "out/image_encoder.onnx")


def test_other_text_features_are_refused(convirt_bundle, exported):
    bundle = load_bundle(convirt_bundle)
    encoder = bundle.method().text_encoder
    text_folder._require_equal(encoder, bundle.tokenizer(), exported / "out/text_encoder")
    with torch.no_grad():
        encoder.network.embeddings.position_embeddings.weight[:, 0] += 0.1
    with pytest.raises(InputError, match="computes other text features"):
        text_folder._require_equal(encoder, bundle.tokenizer(), exported / "out/text_encoder")


def test_a_failure_leaves_nothing(convirt_bundle, tmp_path, monkeypatch):
    def fail(encoder, bundle, path):
        assert (path.parent / "image_encoder/model.safetensors").is_file()
        raise InputError("it differs")

    monkeypatch.setattr(module, "write_onnx", fail)
    with pytest.raises(InputError, match="it differs"):
        module.export(convirt_bundle, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_wrong_input_is_refused_before_work(random_bundle, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists already"):
        export(random_bundle, tmp_path / "out")
    with pytest.raises(InputError, match="is missing"):
        export(tmp_path, tmp_path / "new")
    with pytest.raises(InputError, match=r"none\.csv does not exist"):
        export(random_bundle, tmp_path / "new", tmp_path / "none.csv")
    monkeypatch.setattr(onnx_graph, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(InputError, match="needs no_such_package; run `pip install no_such_package`"):
        export(random_bundle, tmp_path / "new")
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def row(**changes):
    plain = dict.fromkeys(AGGREGATED_COLUMNS, "")
    plain |= {"experiment": "default", "method": "convirt", "variant": "default", "pretrain_seed": 0}
    plain |= {
        "pretraining_data": "mimic_cxr",
        "n_pretrain_pairs": 100,
        "samples_seen": 300,
        "simulated": True,
    }
    plain |= {
        "task": "classification",
        "dataset": "chexpert",
        "protocol": "strict_small",
        "setting": "linear",
        "split": "strict",
    }
    plain |= {"head": "linear", "frozen": True, "fraction": 0.1, "metric": "auroc_macro", "value": 0.5}
    return plain | {"run": "classification/chexpert/strict_small-linear/convirt-default-s0"} | changes


@pytest.fixture
def results(tmp_path):
    rows = [
        row(seed=0, value=0.75),
        row(seed=1, value=0.85),
        row(run="", value=0.8, ci_low=0.7125, ci_high=0.8875),
        row(seed=0, metric="auprc_macro", value=0.111),
        row(seed=0, finding="Edema", metric="auroc", value=0.222),
        row(seed=0, method="prior", value=0.333),
        row(seed=0, samples_seen=999, value=0.444),
        row(task="zero_shot", head="", fraction="", seed=0, value=0.6125, simulated=False),
        row(
            task="zero_shot",
            head="",
            fraction="",
            pretrain_seed="",
            run="",
            value=0.9,
            ci_low=0.8,
            ci_high=1.0,
        ),
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "results.csv", index=False)
    return tmp_path / "results.csv"


def test_results_are_those_of_the_bundle(convirt_bundle, results):
    found = bundle_results(load_bundle(convirt_bundle).info, read_rows(results)).set_index("task")
    assert found["value"].to_dict() == pytest.approx({"classification": 0.8, "zero_shot": 0.6125})
    assert found["n_seeds"].to_dict() == {"classification": 2, "zero_shot": 1}
    assert found.loc["classification", ["ci_low", "ci_high"]].tolist() == [0.7125, 0.8875]
    # Over several pre-training seeds the interval is the method's, not this bundle's.
    assert found.loc["zero_shot", ["ci_low", "ci_high"]].isna().all()


def card(path, results=None):
    bundle = load_bundle(path)
    return model_card(bundle, bundle.image_encoder(), results)


def test_the_card_says_what_is_simulated_and_what_was_measured(convirt_bundle, results):
    text = card(convirt_bundle, results)
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["library_name"] == "timm"
    assert "simulated-data" in facts["tags"]
    assert "no use on patients" in " ".join(body.split())
    assert "**simulated** in the format of that data set" in body
    assert "| Classification           | chexpert, strict_small, linear head, frozen encoder | 10 %" in body
    assert "0.800 [0.713, 0.887]" in body or "0.800 [0.712, 0.887]" in body
    assert "0.613" in body or "0.612" in body
    assert not any(other in body for other in ("0.111", "0.222", "0.333", "0.444", "0.900"))
    assert "`map_0`" in body
    assert "{{" not in text


def test_the_card_of_an_untrained_bundle_claims_no_training(random_bundle):
    text = card(random_bundle)
    assert "No radiograph and no report was used." in text
    assert "None are recorded with this export." in text
    assert "text_encoder" not in text
    assert "imulated" not in text


def test_the_card_names_controls_and_terms(convirt_bundle):
    bundle = load_bundle(convirt_bundle)
    changed = {"simulated": False, "shuffle_pairs": True, "data": {"image_encoder": "timm's test_resnet"}}
    other = SimpleNamespace(name=bundle.name, info=bundle.info.model_copy(update=changed))
    text = model_card(other, bundle.image_encoder(), None)
    assert "dealt to the wrong images" in text
    assert "MIMIC-CXR, which PhysioNet gives" in text
    assert "licence of the initial weights (timm's test_resnet, pre-trained weights)" in text
    assert "imulated" not in text
