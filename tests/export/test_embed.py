import json

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from prior.cli import app
from prior.encoders.bundle import load_bundle
from prior.errors import InputError
from prior.export import embed as module
from prior.export.embed import embed
from prior.export.inputs import image_files, load_squares
from prior.tasks.embeddings import Embedder


def read(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row["path"] for row in rows], np.array([row["embedding"] for row in rows], dtype=np.float32)


def test_a_bundle_with_text_gives_the_embeddings_of_the_tasks(images, convirt_bundle, tmp_path):
    embed(convirt_bundle, [images], tmp_path / "out.jsonl")
    paths, vectors = read(tmp_path / "out.jsonl")
    files = image_files([images])
    assert paths == [str(file) for file in files]
    bundle = load_bundle(convirt_bundle)
    expected = Embedder(bundle).images(load_squares(files, bundle.info), np.arange(3)).numpy()
    np.testing.assert_array_equal(vectors, expected)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert np.ptp(vectors, axis=0).max() > 1e-4


def test_a_bundle_without_text_gives_pooled_maps(images, random_bundle, tmp_path):
    embed(random_bundle, [images / "b.png"], tmp_path / "out.jsonl")
    _, vectors = read(tmp_path / "out.jsonl")
    bundle = load_bundle(random_bundle)
    pixels = load_squares([images / "b.png"], bundle.info)
    with torch.inference_mode():
        expected = bundle.image_encoder().pooled(torch.from_numpy(pixels)[:, None] / 255)
    np.testing.assert_allclose(vectors, expected.numpy(), rtol=2e-2 if bf16() else 1e-5, atol=1e-4)


def bf16():
    from prior.training.precision import choose_device, resolve_precision

    return resolve_precision("auto", choose_device()) == "bf16"


def test_formats_hold_the_same_and_batches_change_nothing(images, convirt_bundle, tmp_path, monkeypatch):
    embed(convirt_bundle, [images], tmp_path / "whole.jsonl")
    sizes = []
    plain = module.load_squares
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(
        module, "load_squares", lambda files, info: sizes.append(len(files)) or plain(files, info)
    )
    embed(convirt_bundle, [images], tmp_path / "parts.parquet")
    assert sizes == [2, 1]
    paths, vectors = read(tmp_path / "whole.jsonl")
    table = pd.read_parquet(tmp_path / "parts.parquet")
    assert table["path"].tolist() == paths
    np.testing.assert_allclose(np.stack(table["embedding"]), vectors, atol=1e-2 if bf16() else 1e-6)


def test_without_a_file_lines_are_printed(images, convirt_bundle):
    done = CliRunner().invoke(app, ["embed", str(convirt_bundle), str(images / "b.png")])
    row = json.loads(done.stdout)
    assert row["path"] == str(images / "b.png")
    assert len(row["embedding"]) == 8


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_an_unreadable_image_leaves_nothing(images, convirt_bundle, tmp_path, suffix):
    (tmp_path / "bad.dcm").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"bad\.dcm"):
        embed(convirt_bundle, [images, tmp_path / "bad.dcm"], tmp_path / f"out.{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == ["bad.dcm"]


def test_an_output_that_exists_or_has_no_known_format_is_refused(images, convirt_bundle, tmp_path):
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(InputError, match=r"out\.jsonl exists already"):
        embed(convirt_bundle, [images], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "mine"
    with pytest.raises(InputError, match=r"must be \.jsonl or \.parquet"):
        embed(convirt_bundle, [images], tmp_path / "out.csv")
