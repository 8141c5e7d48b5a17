"""Heat maps and masks whose agreement is known."""

import numpy as np
import pytest

from prior.tasks.map_agreement import contrast_to_noise, mean_iou, pointing_hits, scaled

MAP = np.array([[[0.0, 0.2], [0.6, 1.0]]])
BOTTOM = np.array([[[False, False], [True, True]]])
CORNER = np.array([[[False, False], [False, True]]])
ALL, CONSTANT = np.ones((1, 2, 2), dtype=bool), np.ones((1, 2, 2))
THRESHOLDS = [0.1, 0.5, 0.9]


def test_a_map_is_scaled_by_its_own_range() -> None:
    maps = np.stack([3 + 10 * MAP[0], -MAP[0]])
    np.testing.assert_allclose(scaled(maps), [MAP[0], 1 - MAP[0]])


@pytest.mark.parametrize("value", [0.0, 1e-9, -7.3, 2e5])
def test_a_map_that_differs_by_rounding_only_is_constant(value: float) -> None:
    noisy = value * (1 + 1e-8 * np.random.default_rng(0).random((1, 4, 4)))
    assert (scaled(noisy) == 1).all()


def test_the_pointing_game() -> None:
    assert pointing_hits(MAP, CORNER).tolist() == [1]
    assert pointing_hits(MAP, ~CORNER).tolist() == [0]
    tied = np.array([[[1.0, 1.0], [1.0, 0.0]]])
    assert pointing_hits(tied, BOTTOM).tolist() == [pytest.approx(1 / 3)]
    assert pointing_hits(CONSTANT, CORNER).tolist() == [0.25]
    assert pointing_hits(MAP, ALL).tolist() == [1]


def test_contrast_to_noise_by_hand() -> None:
    # inside .6, 1: mean .8, variance .04; outside 0, .2: mean .1, variance .01
    assert contrast_to_noise(MAP, BOTTOM).tolist() == [pytest.approx(0.7 / 0.05**0.5)]
    assert contrast_to_noise(MAP, ~BOTTOM).tolist() == [pytest.approx(-0.7 / 0.05**0.5)]
    assert contrast_to_noise(CONSTANT, BOTTOM).tolist() == [0]


def test_contrast_to_noise_is_undefined_without_outside_inside_or_noise() -> None:
    assert np.isnan(contrast_to_noise(MAP, ALL)).all()
    assert np.isnan(contrast_to_noise(MAP, ~ALL)).all()
    assert np.isnan(contrast_to_noise(BOTTOM.astype(float), BOTTOM)).all()


def test_contrast_and_pointing_do_not_depend_on_scale_and_offset() -> None:
    generator = np.random.default_rng(0)
    maps, masks = generator.random((5, 8, 8)), generator.random((5, 8, 8)) < 0.3
    for function in (contrast_to_noise, pointing_hits):
        np.testing.assert_allclose(function(scaled(4 * maps - 9), masks), function(maps, masks), atol=1e-4)


def test_mean_iou_by_hand() -> None:
    # marked: three pixels, two, one; the mask has the lower two
    assert mean_iou(MAP, BOTTOM, THRESHOLDS).tolist() == [pytest.approx((2 / 3 + 1 + 1 / 2) / 3)]
    assert mean_iou(MAP, ALL, THRESHOLDS).tolist() == [pytest.approx((3 + 2 + 1) / 12)]
    outside = np.array([[[1.0, 1.0], [0.0, 0.0]]])
    assert mean_iou(outside, BOTTOM, THRESHOLDS).tolist() == [0]
    assert mean_iou(CONSTANT, CORNER, THRESHOLDS).tolist() == [0.25]


def test_images_do_not_disturb_each_other() -> None:
    maps, masks = np.concatenate([MAP, CONSTANT]), np.concatenate([CORNER, BOTTOM])
    assert pointing_hits(maps, masks).tolist() == [1, 0.5]
    assert mean_iou(maps, masks, [0.9]).tolist() == [1, 0.5]
