from pathlib import Path

import pytest
import torch

from tests.tasks.fixtures import make_bundle, make_data


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> dict[str, Path]:
    """Folders `data`, `bundle` and `cache` (of features) of a tiny dataset and a tiny encoder."""
    root = tmp_path_factory.mktemp("tiny")
    data, bundle = make_data(root / "squares"), make_bundle(root / "random-default-s0")
    return {"data": data, "bundle": bundle, "cache": root / "features"}
