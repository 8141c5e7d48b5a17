"""The measurements that are run by hand still run, on a batch of two."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from prior.methods import METHODS
from prior.params import load
from tests.methods.tiny import TRAINED, build

ROOT = Path(__file__).parents[1]


def benchmark(name):
    spec = spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_trained_method_is_timed():
    assert sorted(set(METHODS) - benchmark("methods").UNTRAINED) == TRAINED


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_of_every_stage_is_timed_beside_the_encoders(name):
    params = load(ROOT / "params.yaml")
    small = params.pretraining.model_copy(update={"batch_size": 2})
    found = benchmark("methods").rows(
        name, params.model_copy(update={"pretraining": small}), "fp32", 1, torch.device("cpu")
    )
    assert [row.split(" | ")[1] for row in found] == [stage.name for stage in build(name).stages]
