import json
import logging

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from prior.cli import app
from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import load_bundle
from prior.errors import InputError
from prior.export.prompts import read_prompts
from prior.export.zero_shot import zero_shot
from prior.methods.convirt import Convirt
from prior.protocols import load_protocol
from prior.tasks import prompts as prompt_files
from prior.tasks.base import Cell
from prior.tasks.zero_shot import evaluate
from tests.tasks.fixtures import make_data
from tests.tasks.stub import protocol

OWN = """
Effusion: {positive: [There is an effusion., The costophrenic angle is blunted.], negative: [No effusion.]}
Nodule: {positive: [There is a nodule.], negative: [There is no nodule., The lungs are clear.]}
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    return str(tmp_path / "own.yaml")


def test_scores_are_those_of_the_task(convirt_bundle, own, tmp_path, monkeypatch):
    data = PreparedDataset(make_data(tmp_path / "squares", n=6, preset="official"))
    monkeypatch.setattr(prompt_files, "FOLDER", tmp_path)
    stated = load_protocol("strict", "zero_shot", "prompts").knobs
    names = ("drawn", "pooling", "similarity", "normalisation", "score")
    knobs = protocol("zero_shot", prompts="own", **{name: stated[name] for name in names})
    bundle = load_bundle(convirt_bundle)
    result = next(iter(evaluate(bundle, data, knobs, [Cell(None, 0)], tmp_path)))[1]
    expected = result.predictions.pivot(index="image_id", columns="finding", values="score")
    pixels = data.pixels(32).copy()
    for image in expected.index:
        Image.fromarray(pixels[int(image[1:])]).save(tmp_path / f"{image}.png")
        scores = zero_shot(tmp_path / f"{image}.png", convirt_bundle, own, None)["scores"]
        assert list(scores) == ["Effusion", "Nodule"]
        assert scores == pytest.approx(expected.loc[image].to_dict(), abs=5e-3)
    assert len(expected) > 1


def test_the_command_prints_scores_and_warns_of_simulated_data(images, convirt_bundle, caplog):
    arguments = ["zero-shot", str(images / "below/c.dcm"), "--bundle", str(convirt_bundle)]
    with caplog.at_level(logging.WARNING, logger="prior"):
        done = CliRunner().invoke(app, [*arguments, "--prompts", "Edema, pleural effusion"])
    found = json.loads(done.stdout)
    assert (found["bundle"], found["simulated"]) == ("convirt-default-s0", True)
    assert list(found["scores"]) == ["Edema", "Pleural_Effusion"]
    assert all(-2 <= score <= 2 for score in found["scores"].values())
    assert "say nothing about patients" in caplog.text


def test_the_picture_shows_a_map_per_finding(images, convirt_bundle, own, tmp_path, monkeypatch):
    from prior.export import zero_shot as module

    drawn = []
    plain = module._draw
    monkeypatch.setattr(
        module,
        "_draw",
        lambda path, square, maps, *rest: drawn.append(maps) or plain(path, square, maps, *rest),
    )
    zero_shot(images / "b.png", convirt_bundle, own, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as picture:
        shown = np.asarray(picture.convert("RGB"))
    assert len(drawn[0]) == 2
    assert all(heat.shape == (32, 32) and heat.min() == 0 and heat.max() == 1 for heat in drawn[0])
    # The image is grey; only maps bring colour.
    assert (np.ptp(shown.astype(int), axis=2) > 60).mean() > 0.1
    with pytest.raises(InputError, match=r"out\.png exists already"):
        zero_shot(images / "b.png", convirt_bundle, own, tmp_path / "out.png")


def test_no_picture_without_maps(images, convirt_bundle, own, tmp_path, monkeypatch):
    monkeypatch.setattr(Convirt, "heat_maps", lambda *_: None)
    with pytest.raises(InputError, match="leave --picture out"):
        zero_shot(images / "b.png", convirt_bundle, own, tmp_path / "out.png")
    with pytest.raises(InputError, match=r"must be \.png or \.svg"):
        zero_shot(images / "b.png", convirt_bundle, own, tmp_path / "out.jpg")
    assert [file.name for file in tmp_path.iterdir()] == ["own.yaml"]


def test_a_missing_image_is_named(images, convirt_bundle, own):
    with pytest.raises(InputError, match=r"none\.png is no file"):
        zero_shot(images / "none.png", convirt_bundle, own, None)
    with pytest.raises(InputError, match="is no file"):
        zero_shot(images, convirt_bundle, own, None)


def test_a_bundle_without_text_is_refused(images, random_bundle, own):
    with pytest.raises(InputError, match="random has no text encoder"):
        zero_shot(images / "b.png", random_bundle, own, None)


def test_findings_are_taken_from_the_frozen_set():
    frozen, _ = prompt_files.load_prompts("strict_22")
    found = read_prompts("pleural effusion,Edema")
    assert found == {name: frozen[name] for name in ("Pleural_Effusion", "Edema")}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("Edema: {positive: [wet]}", r"Edema\.negative: Field required"),
        ("Edema: {positive: [wet], negative: []}", r"Edema\.negative: List should have at least 1"),
        ("Edema: {positive: [wet], negative: [dry], maybe: [damp]}", r"Edema\.maybe: Extra inputs"),
        ("- Edema", "the file: Input should be a valid dictionary"),
        ("", "the file: Input should be a valid dictionary"),
        ("{}", "the file: Dictionary should have at least 1"),
        ("Edema: {", "is no YAML"),
    ],
)
def test_wrong_prompt_files_are_named(tmp_path, content, problem):
    path = tmp_path / "own.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=problem) as raised:
        read_prompts(str(path))
    assert str(path) in str(raised.value)


def test_missing_prompts_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml cannot be read"):
        read_prompts(str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match="no prompts for Gout; choose from Atelectasis"):
        read_prompts("Edema,Gout")
    with pytest.raises(InputError, match="no finding"):
        read_prompts(" , ")
