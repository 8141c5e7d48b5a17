"""Whether a raw folder holds as much as was published."""

import pytest

from prior.datasets import load_reader
from prior.datasets.published_counts import COUNTS, beside_published
from tests.datasets import trees
from tests.datasets.archives import archive

pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR AS"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
]


def test_sides_boxes_and_patients_are_counted_by_hand(tmp_path):
    raw = load_reader("object_cxr").read(trees.object_cxr(tmp_path / "a"))
    assert beside_published(raw) == (
        "not as published: 10 train images (8,000), 10 validation images (1,000), 15 train boxes (8,223), "
        "15 validation boxes (1,015)"
    )
    raw = load_reader("chexpert").read(trees.chexpert(tmp_path / "b"))
    assert beside_published(raw) == (
        "not as published: 60 train images (223,414), 60 train patients (64,540), 4 validation images (234)"
    )


def test_films_without_a_match_count_as_images(tmp_path, monkeypatch):
    raw = load_reader("rsna").read(trees.rsna(tmp_path / "a"))
    assert len(raw.images) == 29
    monkeypatch.setitem(COUNTS, "rsna", {"images": 30, "images with boxes": 10, "boxes": 20})
    assert beside_published(raw) == "as published: 30 images"
    whole = load_reader("rsna").read(trees.rsna(tmp_path / "b", mapping=False))
    assert beside_published(whole) == "as published: 30 images, 10 images with boxes, 20 boxes"


def test_pairs_of_ms_cxr_are_those_of_its_notes():
    raw = load_reader("ms_cxr").read(archive("ms_cxr"))
    assert beside_published(raw) == f"not as published: {raw.notes['pairs']:,} pairs (1,162)"


@pytest.mark.parametrize("key", ["folder", "siim:stage_2"])
def test_what_has_no_published_number_is_not_compared(key):
    assert beside_published(load_reader(key.split(":")[0]).read(archive(key))) is None
