import numpy as np
import pytest

from prior.data import store
from prior.data.pixels import load_pixels
from prior.encoders.bundle import load_bundle
from prior.errors import InputError
from prior.export.inputs import image_files, load_squares, open_bundle, trained_fit


def names(files, root):
    return [str(file.relative_to(root)) for file in files]


def test_folders_are_searched_and_files_kept_as_given(images):
    assert names(image_files([images]), images) == ["a.JPG", "b.png", "below/c.dcm"]
    given = [images / "below", images / "b.png"]
    assert names(image_files(given), images) == ["below/c.dcm", "b.png"]


def test_what_is_no_image_or_folder_is_named(images, tmp_path):
    with pytest.raises(InputError, match=r"missing\.png does not exist"):
        image_files([tmp_path / "missing.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no image"):
        image_files([images, tmp_path / "empty"])


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_pixels_are_those_of_prepare(images, convirt_bundle, tmp_path, fit):
    files = image_files([images])
    target = tmp_path / f"images_32_{fit}.npy"
    facts = store.decode(images, files, load_pixels, 32, {fit: target}, tmp_path / "work", workers=1)
    assert facts["error"].null_count == len(facts) == len(files)
    info = load_bundle(convirt_bundle).info.model_copy(update={"training": {"image": {"fit": fit}}})
    squares = load_squares(files, info)
    np.testing.assert_array_equal(squares, store.open_store(target))
    borders = squares[0][[0, -1]]  # of the image that is wider than high
    assert (borders == 0).all() == (fit == "pad")


def test_an_untrained_bundle_is_padded(random_bundle):
    assert trained_fit(load_bundle(random_bundle).info) == "pad"


def test_what_is_no_bundle_is_named(images, random_bundle):
    with pytest.raises(InputError, match=r"bundle\.json is no folder"):
        open_bundle(random_bundle / "bundle.json")
    with pytest.raises(InputError, match=r"bundle\.json is missing"):
        open_bundle(images)
