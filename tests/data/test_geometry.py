import numpy as np
import pytest

from prior.data.geometry import fit_image, fit_mask, placement


@pytest.mark.parametrize(("height", "width"), [(100, 80), (80, 100), (64, 64), (7, 900)])
@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_box_lands_where_its_pixels_land(height, width, fit):
    size = 32
    place = placement(height, width, size, fit)
    scale_x, scale_y = place.width / width, place.height / height
    top, bottom, left, right = height // 4, 3 * height // 4, width // 4, 3 * width // 4
    image = np.zeros((height, width), dtype=np.uint8)
    image[top:bottom, left:right] = 200
    rows, columns = np.nonzero(fit_image(image, height, width, size, fit) > 100)
    assert columns.min() == pytest.approx(left * scale_x + place.pad_x, abs=1)
    assert columns.max() + 1 == pytest.approx(right * scale_x + place.pad_x, abs=1)
    assert rows.min() == pytest.approx(top * scale_y + place.pad_y, abs=1)
    assert rows.max() + 1 == pytest.approx(bottom * scale_y + place.pad_y, abs=1)


def test_a_reduced_decode_fills_the_same_square():
    image = np.full((25, 20), 90, dtype=np.uint8)
    square = fit_image(image, 100, 80, 16, "pad")
    assert (square > 0).sum() == 16 * 13


def test_masks_stay_binary_and_keep_half_covered_pixels():
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[8:24, 10:50] = 1
    small = fit_mask(mask, 16, "pad")
    assert set(np.unique(small)) == {0, 1}
    assert small[2:6, 2:13].all()  # columns 2 and 12 are exactly half covered
    assert small.sum() == 4 * 11


@pytest.mark.parametrize("position", [(0, 0), (999, 999), (500, 3)])
def test_a_tiny_mask_is_never_lost(position):
    mask = np.zeros((1000, 1000), dtype=np.uint8)
    mask[position] = 1
    small = fit_mask(mask, 8, "pad")
    assert small.sum() == 1
    assert small[position[0] * 8 // 1000, position[1] * 8 // 1000] == 1


def test_an_empty_mask_stays_empty():
    assert fit_mask(np.zeros((30, 20), dtype=np.uint8), 8, "stretch").sum() == 0
