"""Files as trainers leave them, and files that must not be opened."""

import argparse
import os

import numpy as np
import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from prior.errors import InputError
from prior.importing.reading import read_checkpoint

WEIGHTS = {"net.conv.weight": torch.arange(4.0).view(2, 2), "net.bn.num_batches_tracked": torch.tensor(3)}


class Callback:
    """Stands for a class of the trainer's package, used as a key."""


class Settings(dict):
    """A mapping of a class of its own, as Lightning's."""


def same(found):
    assert set(found) == set(WEIGHTS)
    return all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {
            "state_dict": WEIGHTS,
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
            "epoch": 3,
        },
        {"model": WEIGHTS, "optimizer": {"state": {}}, "args": argparse.Namespace(lr=0.1, seed=1)},
        {"image_encoder": WEIGHTS, "model": {"head": torch.zeros(1)}, "text_encoder": {"x": torch.zeros(1)}},
        {
            "state_dict": WEIGHTS,
            "hyper_parameters": OmegaConf.create({"model": {"width": 8, "list": [1, 2]}}),
        },
        {
            "state_dict": WEIGHTS,
            "callbacks": {Callback: {"best": torch.tensor(1.0), "score": np.float64(0.5)}},
        },
        {"state_dict": WEIGHTS, "hyper_parameters": Settings(width=3, scheduler=Callback())},
        {"model": {f"module.{name}": value for name, value in WEIGHTS.items()}},
        {"model": {f"module._orig_mod.{name}": value for name, value in WEIGHTS.items()}},
    ],
    ids=[
        "bare",
        "lightning",
        "namespace",
        "kad",
        "omegaconf",
        "callbacks",
        "settings",
        "wrapped",
        "compiled",
    ],
)
def test_wrappers_and_what_lies_beside_the_weights(content, tmp_path):
    assert same(read_checkpoint(saved(tmp_path / "a.ckpt", content)))


def test_safetensors_and_the_old_format(tmp_path):
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    assert same(read_checkpoint(tmp_path / "a.safetensors"))
    old = saved(tmp_path / "old.pt", {"model": WEIGHTS}, _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(old))


def test_halves_become_floats_without_gradients(tmp_path):
    path = saved(tmp_path / "a.pt", {"w": torch.nn.Parameter(torch.ones(2, dtype=torch.float16))})
    found = read_checkpoint(path)["w"]
    assert found.dtype is torch.float32
    assert not found.requires_grad


class Command:
    def __reduce__(self):
        return os.mkdir, (f"{os.environ['TMP_FOR_TEST']}/made",)


class Harmless:
    def __reduce__(self):
        return os.path.join, ("a", "b")


def test_nothing_in_a_file_is_called(tmp_path, monkeypatch):
    monkeypatch.setenv("TMP_FOR_TEST", str(tmp_path))
    path = saved(tmp_path / "a.pt", {"state_dict": WEIGHTS, "x": Command()})
    with pytest.raises(
        InputError, match=r"is no plain file of weights \(it names posix\.mkdir\).*save the weights"
    ):
        read_checkpoint(path)
    assert not (tmp_path / "made").exists()
    # A name outside the blocked modules stands for nothing.
    assert same(read_checkpoint(saved(tmp_path / "b.pt", {"state_dict": WEIGHTS, "x": Harmless()})))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_model_is_refused_with_the_remedy(zipped, tmp_path):
    model = timm.create_model("test_vit")
    path = saved(tmp_path / "model.pt", model, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"model\.pt .*torch\.save\(model\.state_dict\(\)"):
        read_checkpoint(path)


def test_other_files_are_named(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        read_checkpoint(tmp_path / "no.pt")
    (tmp_path / "a.pt").write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=r"a\.pt"):
        read_checkpoint(tmp_path / "a.pt")
    (tmp_path / "a.safetensors").write_bytes(b"xx")
    with pytest.raises(InputError, match="is no safetensors file"):
        read_checkpoint(tmp_path / "a.safetensors")
    whole = saved(tmp_path / "whole.pt", WEIGHTS).read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"half\.pt"):
        read_checkpoint(tmp_path / "half.pt")
    with pytest.raises(InputError, match=r"no weights under state_dict.*; it has epoch, teacher"):
        read_checkpoint(saved(tmp_path / "b.pt", {"teacher": WEIGHTS, "epoch": 1}))
