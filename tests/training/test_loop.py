from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from prior.encoders.image import ImageEncoder, ImageEncoderConfig
from prior.errors import InputError
from prior.methods.base import Batch, Method, Stage
from prior.training.loop import Training

STAGES = [
    Stage(name="first", epochs=2, learning_rate=1e-2, warmup_epochs=1, terms={"a": 1.0}),
    Stage(name="second", epochs=2, learning_rate=1e-3, terms={"a": 0.5, "b": 2.0}),
]


class Noisy(Method):
    """Draws noise in every step, so that a lost generator state would show."""

    def __init__(self):
        super().__init__()
        self.image_encoder = ImageEncoder(ImageEncoderConfig(name="test_resnet", output_stride=32))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(self.image_encoder.last_channels, 1))
        self.stages = STAGES

    def losses(self, batch, stage):
        pooled = self.image_encoder.pooled(batch.images)
        score = self.head(pooled + torch.randn_like(pooled))
        terms = {"a": score.square().mean(), "b": (score - 1).abs().mean()}
        self.watched = {"epoch_seen": torch.tensor(self.epoch)}
        return {name: weight * terms[name] for name, weight in stage.terms.items()}

    encode_images = encode_reports = scores = None


def batches(epoch):
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(2):
        ids = torch.zeros(3, 2, dtype=torch.long)
        images = torch.rand(3, 1, 32, 32, generator=generator)
        yield Batch(images=images, ids=ids, mask=ids == 0, sentence=ids, n_sentences=ids[:, 0] + 1)


def training(work, batches=batches, precision="bf16"):
    plan = [(stage, 2) for stage in STAGES]
    return Training(plan, batches, 2, 1e-6, precision, torch.device("cpu"), Path(work))


def run(work, *attempts):
    """Train with fresh objects per attempt, as a new process would."""
    for attempt in attempts:
        torch.manual_seed(0)
        method = Noisy()
        torch.manual_seed(1)
        trained = training(work, attempt)
        try:
            trained.run(method)
        except InterruptedError:
            continue
        return method, trained
    raise AssertionError("interrupted too often")


def stopping_in(epoch):
    def interrupted(asked):
        yield from batches(asked)
        if asked == epoch:
            raise InterruptedError

    return interrupted


@pytest.mark.parametrize("stops", [(0,), (2,), (1, 3)])
def test_resume_is_exact(tmp_path, stops):
    whole, log = run(tmp_path / "whole", batches)
    resumed, resumed_log = run(tmp_path / "parts", *map(stopping_in, stops), batches)
    assert resumed_log.rows == log.rows
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_log_has_every_step_and_named_terms(tmp_path):
    _, trained = run(tmp_path, batches)
    assert [(row["stage"], row["epoch"], row["step"]) for row in trained.rows] == [
        (("first", "second")[k // 4], k // 2, k) for k in range(8)
    ]
    assert [row["learning_rate"] for row in trained.rows[:3]] == pytest.approx([0, 5e-3, 1e-2])
    assert "b" not in trained.rows[0]
    for row in trained.rows[4:]:
        assert row["total"] == pytest.approx(row["a"] + row["b"], rel=1e-5)


def test_what_a_method_watches_is_logged_and_no_part_of_the_loss(tmp_path):
    _, trained = run(tmp_path, stopping_in(2), batches)
    assert [row["epoch_seen"] for row in trained.rows] == [row["epoch"] for row in trained.rows]
    assert trained.rows[-1]["epoch_seen"] == 3
    assert trained.rows[0]["total"] == pytest.approx(trained.rows[0]["a"], rel=1e-5)


def test_a_loss_that_is_not_finite_stops_and_leaves_the_batch(tmp_path):
    def broken(epoch):
        for batch in batches(epoch):
            batch.images[0] = torch.nan
            yield batch

    with pytest.raises(InputError, match=r"step 0: the loss is not finite .*not_finite\.safetensors"):
        training(tmp_path, broken).run(Noisy())
    assert torch.isnan(load_file(tmp_path / "not_finite.safetensors")["images"][0]).all()
