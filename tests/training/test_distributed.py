"""Two processes with half of each batch against one process with the whole."""

import contextlib
import csv
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from torch import multiprocessing

from prior.cli import CELLS
from prior.data.files import write_json
from prior.errors import InputError
from prior.objectives.gather import batch_rows, draw_rows, gather
from prior.reports.tokens import ReportTokens
from prior.training import loop
from prior.training.distributed import average, average_gradients, own_part, process_group, rank
from prior.training.loop import Training
from prior.training.pairs import TrainingPairs
from prior.training.pretrain import pretrain
from prior.training.synced_norm import synced_norm
from tests.methods.tiny import TRAINED, batch, build, rows
from tests.tasks.fixtures import make_data

RAGGED = [[[5, 6], [7, 8, 9]], [[10]], [[5, 6], [7, 8, 9]], [], [[11], [12, 13], [14], [15], [16, 17], [18]]]
# The second process gets no report with sentences.
ONE_SIDED = [[[5, 6], [7]], [[8]], [[9, 10, 11]], [], [], []]
CPU = torch.device("cpu")


def child(index, port, work, *arguments):
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(index),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    with process_group():
        work(*arguments)


def in_two_processes(work, *arguments):
    """Fork: the children have all modules already, and what `arguments` hold."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    running = multiprocessing.start_processes(
        child, (port, work, *arguments), nprocs=2, join=False, start_method="fork"
    )
    end = time.monotonic() + 120
    while not running.join(timeout=5):
        assert time.monotonic() < end, "the processes wait for each other"


def cases(name):
    """Method, stage, whether out of training mode, reports.

    The bank's noise and the report decoder's dropout are drawn by each process for itself.
    """
    for k, stage in enumerate(build(name).stages):
        quiet = name == "prior" and "prototype" in stage.terms
        for reports in (RAGGED, ONE_SIDED):
            yield (name, k, quiet, reports)


def measure(name, stage, quiet, reports, part):
    method = build(name)
    method.train(not quiet)
    torch.manual_seed(7)
    with synced_norm():
        losses = method.losses(rows(batch(reports), part), method.stages[stage])
    sum(losses.values()).backward()
    average_gradients(list(method.parameters()))
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    values = {n: average(value) for n, value in losses.items()}
    return values, gradients, dict(method.named_buffers())


def check_gather():
    own = torch.full((2 - rank(), 1 + rank(), 2), 1.0 + rank(), requires_grad=True)
    every, first = gather(own)
    assert every.tolist() == [[[1, 1], [0, 0]], [[1, 1], [0, 0]], [[2, 2], [2, 2]]]
    assert first == 2 * rank()
    (every * (1 + rank())).sum().backward()
    assert own.grad.eq(3).all()
    assert gather(own[:0] > 0)[0].shape == (0, 2, 2)
    assert batch_rows(2 - rank(), CPU) == 3
    torch.manual_seed(3)
    drawn = draw_rows(torch.rand, 2 - rank(), CPU)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(3)[:2] if rank() == 0 else torch.rand(3)[2:])


def batches(part, interrupt=None):
    def of_epoch(epoch):
        whole = batch(RAGGED)
        whole.images = torch.rand(whole.images.shape, generator=torch.Generator().manual_seed(epoch))
        yield rows(whole, part)
        yield rows(whole, part)
        if epoch == interrupt:
            raise InterruptedError

    return of_epoch


def train(work, given):
    method = build("convirt")
    torch.manual_seed(5)
    training = Training([(method.stages[0], 3)], given, 2, 1e-6, "fp32", CPU, work)
    training.run(method)
    return method.state_dict(), training.rows


def check_training(work, alone):
    whole, log = alone
    part = own_part(len(RAGGED))
    split, split_log = train(work / "split", batches(part))
    for row, other in zip(log, split_log, strict=True):
        assert abs(row["total"] - other["total"]) < 1e-4, (row, other)
    for name, value in whole.items():
        torch.testing.assert_close(
            split[name], value, atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )
    try:
        train(work / "resumed", batches(part, interrupt=1))
    except InterruptedError:
        resumed, resumed_log = train(work / "resumed", batches(part))
    assert resumed_log == split_log
    assert all(torch.equal(resumed[name], split[name]) for name in split)


def check_cases(alone):
    for case, expected in alone:
        check_case(case, expected)


def check_case(case, expected):
    values, gradients, buffers = measure(*case, own_part(len(case[3])))
    for what, found, wanted in zip(
        ("loss", "gradient", "buffer"), (values, gradients, buffers), expected, strict=True
    ):
        assert found.keys() == wanted.keys(), (case, what)
        # Gradients that are zero in exact arithmetic are rounding errors of the others' size. Batch norm of
        # nearly equal rows makes MGCA's move by 1e-3 of their length if weights move by 1e-7 of theirs.
        largest = max(value.float().norm() for value in wanted.values())
        for name, value in wanted.items():
            error = (found[name].float() - value.float()).norm()
            assert error <= 5e-3 * (value.float().norm() + 0.01 * largest), (case[:2], what, name, error)


def test_rows_counts_and_noise_are_those_of_the_whole_batch():
    in_two_processes(check_gather)


def test_losses_gradients_and_statistics_of_a_split_batch():
    in_two_processes(
        check_cases, [(case, measure(*case, slice(None))) for name in TRAINED for case in cases(name)]
    )


def test_training_and_resuming_in_two_processes(tmp_path, monkeypatch):
    # AdamW would turn rounding errors of gradients near zero into steps of full length.
    monkeypatch.setattr(
        loop, "make_optimizer", lambda method, _: torch.optim.SGD(method.parameters(), lr=0.0)
    )
    in_two_processes(check_training, tmp_path, train(tmp_path / "alone", batches(slice(None))))


@pytest.fixture
def prepared(tmp_path):
    """Data and tokens of fourteen training studies with a sentence or two each, as the stages leave them."""
    data, tokens = make_data(tmp_path / "data", n=24), tmp_path / "tokens"
    tokens.mkdir()
    rng = np.random.default_rng(0)
    studies = [f"i{k:04d}" for k in range(24)]
    reports = [
        ([2, *rng.integers(5, 30, 2 + k % 3).tolist(), 3], [-1, 0, *[k % 2] * (1 + k % 3), -1])
        for k in range(24)
    ]
    ReportTokens.from_rows(reports, studies, 0).save(tokens / "tokens.npz")
    Tokenizer(WordPiece({f"w{k}": k for k in range(30)}, unk_token="w1")).save(str(tokens / "tokenizer.json"))
    write_json(tokens / "manifest.json", {"vocab_size": 30, "max_tokens": 12})
    return data, tokens


SETTINGS = {
    "method": "convirt",
    "variant": "default",
    "settings": {"dim": 8},
    "seed": 0,
    "preset": "strict",
    "image": {"size": 32, "fit": "pad"},
    "image_encoder": {"name": "test_resnet"},
    "text_encoder": {"width": 16, "layers": 1, "heads": 2, "dropout": 0.0},
    "epochs": 2,
    "batch_size": 6,
    "precision": "fp32",
}


def launch(command, cwd):
    """Run to the end; no process outlives the test."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    running = subprocess.Popen(command, cwd=cwd, env=environment)
    try:
        assert running.wait(timeout=240) == 0
    finally:
        # On this signal torchrun ends the processes that it started.
        running.terminate()
        running.wait(timeout=60)


def log_of(bundle, name):
    with (bundle / name).open() as file:
        return list(csv.DictReader(file))


def test_prior_pretrain_runs_under_torchrun(prepared, tmp_path):
    data, tokens = prepared
    alone, split = tmp_path / "alone", tmp_path / "split"
    pretrain(SETTINGS, data, tokens, alone, tmp_path / "work")
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    program = [str(Path(sys.executable).with_name("prior")), "pretrain", "--settings", json.dumps(SETTINGS)]
    paths = ["--data", str(data / "manifest.json"), "--tokens", str(tokens / "manifest.json")]
    launch(
        [sys.executable, "-m", *command, *program, *paths, "--out", str(split / "bundle.json")], cwd=tmp_path
    )
    assert sorted(p.name for p in split.iterdir()) == sorted(p.name for p in alone.iterdir())
    steps, expected = log_of(split, "training.csv"), log_of(alone, "training.csv")
    assert len(steps) == len(expected) == len(log_of(split, "throughput.csv")) == 6
    for step, other in zip(steps, expected, strict=True):
        assert step.keys() == other.keys()
        assert float(step["total"]) == pytest.approx(float(other["total"]), rel=2e-3)
    weights, others = load_file(split / "model.safetensors"), load_file(alone / "model.safetensors")
    assert all((weights[n].float() - others[n].float()).abs().max() < 1e-2 for n in others)
    assert json.loads((split / "run.json").read_text())["processes"] == 2
    described, other = (json.loads((b / "bundle.json").read_text()) for b in (split, alone))
    assert described.pop("files").keys() == other.pop("files").keys()
    assert described == other
    assert not list((tmp_path / CELLS).rglob("*.pt"))


def check_small_batch(data, tokens, out):
    with pytest.raises(InputError, match=r"the smallest batch has 1 pairs.*start fewer, or raise"):
        pretrain({**SETTINGS, "batch_size": 2}, data, tokens, out, out)


def test_a_batch_smaller_than_the_processes_is_refused(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("prior.training.pretrain.process_group", contextlib.nullcontext)
    monkeypatch.setattr(TrainingPairs, "steps", lambda self, size: len(self))
    in_two_processes(check_small_batch, *prepared, tmp_path / "none")
