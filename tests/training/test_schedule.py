import math

import pytest

from prior.errors import InputError
from prior.methods.base import Stage
from prior.training.schedule import learning_rate, share_epochs


def stages(*epochs):
    return [Stage(name=f"s{i}", epochs=e, learning_rate=1.0, terms={}) for i, e in enumerate(epochs)]


def test_warm_up_is_linear_and_decay_is_a_cosine():
    rates = [learning_rate(step, 10, 4, 1.0, 0.2) for step in range(10)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[7] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert learning_rate(10, 10, 4, 1.0, 0.2) == pytest.approx(0)


def test_without_warm_up_the_peak_comes_first():
    assert learning_rate(0, 10, 0, 0.3, 0.1) == 0.3


@pytest.mark.parametrize(
    ("own", "total", "shares"),
    [
        ((20, 30, 100), 150, [20, 30, 100]),
        ((2, 2, 2), 6, [2, 2, 2]),
        ((20, 30, 100), 6, [1, 1, 4]),
        ((20, 30, 100), 3, [1, 1, 1]),
        ((1,), 7, [7]),
        ((), 7, []),
    ],
)
def test_stages_share_the_total(own, total, shares):
    assert share_epochs(stages(*own), total) == shares


def test_more_stages_than_epochs_are_refused():
    with pytest.raises(InputError, match=r"pretraining\.epochs to at least 3"):
        share_epochs(stages(1, 1, 1), 2)
