from pathlib import Path

import pytest
import yaml

from prior import params
from prior.errors import InputError
from prior.graph import Graph
from prior.methods import METHODS, WITHOUT_TEXT

PROJECT = Path(__file__).parents[1]


def graph(*overlays: str) -> Graph:
    paths = [PROJECT / f"workflow/experiments/{name}.yaml" for name in overlays]
    return Graph(params.load(PROJECT / "params.yaml", *paths), PROJECT)


def test_methods_without_text_have_no_zero_shot_or_retrieval_jobs() -> None:
    jobs = graph().jobs("zero_shot") + graph().jobs("retrieval")
    assert {job.rsplit("/", 1)[1] for job in jobs} == {"convirt-default-s0", "prior-described-s0"}


def test_an_overlay_uses_only_the_data_sets_that_it_names() -> None:
    assert set(graph("real_small").datasets) == {
        "nih_small",
        "kermany",
        "kermany_lungs",
        "chestx_det",
        "lesion_boxes",
    }


def test_settings_hold_what_the_job_depends_on_and_nothing_of_other_methods() -> None:
    first = graph()
    settings = first.pretrain_settings("convirt-default-s0")
    assert settings["method"] == "convirt"
    assert settings["seed"] == 0
    assert "prior" not in str(settings)
    assert "seeds" not in settings


def test_every_default_file_lies_below_an_output_of_dvc() -> None:
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    outputs = [
        next(iter(out)) for stage in stages.values() for out in stage["outs"] + stage.get("metrics", [])
    ]
    default = graph()
    files = default.data_files() + default.model_files() + default.score_files() + default.result_files()
    assert [
        file for file in files if not any(file == out or file.startswith(f"{out}/") for out in outputs)
    ] == []


def test_a_real_root_must_exist(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("data_root: /nowhere\ndatasets: {chexpert: {root: chexpert}}\n")
    real = Graph(params.load(PROJECT / "params.yaml", overlay), PROJECT)
    with pytest.raises(InputError, match=r"datasets\.chexpert\.root.*/nowhere/chexpert does not exist"):
        real.check_roots()


def test_code_digests_differ_between_methods_but_not_between_seeds() -> None:
    default = graph()
    assert default.code("pretrain", "convirt-default-s0") != default.code("pretrain", "prior-described-s0")
    assert default.code("evaluate", "detection") != default.code("evaluate", "classification")


def test_the_overlay_all_methods_runs_every_registered_method() -> None:
    bundles = graph("all_methods").bundles.values()
    assert {settings.method for settings, _ in bundles} == set(METHODS) - {"imagenet"}
    jobs = graph("all_methods").jobs("zero_shot")
    assert len(jobs) == len(set(METHODS) - WITHOUT_TEXT)


def with_imagenet(project: Path, weights: str | None) -> Graph:
    config = yaml.safe_load((PROJECT / "params.yaml").read_text())
    config["methods"] = ["random", "imagenet"]
    config["method_settings"]["imagenet"]["settings"]["weights"] = weights
    return Graph(params.validate(config), project)


def test_imagenet_is_off_by_default_and_needs_weights_at_hand(tmp_path: Path) -> None:
    graph().check_weights()
    (tmp_path / "resnet.pth").touch()
    (tmp_path / "resnet.bin").touch()
    at_hand = with_imagenet(tmp_path, "resnet.pth")
    at_hand.check_weights()
    settings = at_hand.pretrain_settings("imagenet-timm-s0")["settings"]
    assert settings == {"weights": str(tmp_path / "resnet.pth")}
    with_imagenet(tmp_path, "hub").check_weights()
    for weights, words in [
        (None, "null"),
        ("none.pth", "not an existing"),
        ("resnet.bin", "not an existing"),
    ]:
        with pytest.raises(InputError, match=rf"method_settings\.imagenet\.settings\.weights.*{words}.*hub"):
            with_imagenet(tmp_path, weights).check_weights()
