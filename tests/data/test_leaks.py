import io
import itertools
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from prior.cli import app
from prior.data.files import read_json
from prior.data.hashes import DISTANCE, find_copies, perceptual_hash, signatures
from prior.data.leaks import exposure, leak_report, require_disjoint, sources_of_classes
from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.data.shared import shared_between_datasets
from prior.errors import InputError
from tests.datasets import trees
from tests.datasets.simulated import cases


@pytest.fixture(scope="module")
def films():
    """Patient and film of 120 simulated studies."""
    return [(study.patient, film.image) for study, film, _ in cases("mimic_cxr", 120, 0, 128)]


def rewritten(pixels):
    """The film as JPEG of two qualities, at half and at three quarters of its size."""
    image = Image.fromarray(pixels)
    for quality in (75, 30):
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        yield np.asarray(Image.open(stream))
    for share, filter_ in ((0.5, Image.Resampling.BILINEAR), (0.75, Image.Resampling.BICUBIC)):
        side = round(share * pixels.shape[0])
        yield np.asarray(image.resize((side, side), filter_))


def marks(n, chosen):
    return np.isin(np.arange(n), list(chosen))


def test_a_film_that_was_written_again_is_found_and_a_follow_up_is_not(films):
    versions = [[perceptual_hash(pixels), *map(perceptual_hash, rewritten(pixels))] for _, pixels in films]
    width = len(versions[0])
    copies = find_copies(signatures(pd.Series([one for film in versions for one in film])))
    originals = marks(len(films) * width, range(0, len(films) * width, width))
    assert (copies.among(originals, ~originals) == ~originals).all()
    owners = [patient for patient, _ in films]
    assert len(set(owners)) < len(films)
    for film in range(len(films)):
        own = marks(len(originals), range(film * width, (film + 1) * width))
        assert not copies.among(own, ~own).any()


def test_every_close_pair_is_found_and_no_other():
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**64, (60, 4), dtype=np.uint64)
    words[30:] = words[:30]
    for k in range(30):
        for bit in rng.choice(256, 1 + k % 24, replace=False):
            words[30 + k, bit // 64] ^= np.uint64(1) << np.uint64(int(bit) % 64)
    copies = find_copies(words)
    found = {frozenset(np.flatnonzero(np.isin(copies.group, pair)).tolist()) for pair in copies.pairs}
    expected = set()
    for a, b in itertools.combinations(range(60), 2):
        bits = [int(x).bit_count() for x in words[a] ^ words[b]]
        if bits[0] <= 4 and sum(bits) <= DISTANCE:
            expected.add(frozenset((a, b)))
    assert found == expected
    assert 5 < len(expected) < 30


def test_equal_hashes_are_copies_without_a_pair():
    copies = find_copies(signatures(pd.Series(["00" * 32] * 1000 + ["ff" * 32])))
    assert copies.pairs.shape == (0, 2)
    assert copies.among(marks(1001, [0]), marks(1001, range(1, 1001))).sum() == 999
    assert not copies.among(marks(1001, range(1000)), marks(1001, [1000])).any()


def test_an_image_without_detail_has_no_bits():
    for value in (0, 77, 255):
        assert perceptual_hash(np.full((50, 40), value, dtype=np.uint8)) == "00" * 32


def records(patients, sites=None):
    n = len(patients)
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(n)],
            "patient_id": patients,
            "study_id": [f"s{k}" for k in range(n)],
            "site": sites or [None] * n,
        }
    )


def placed(sides):
    return pd.DataFrame({"image_id": [f"i{k}" for k in range(len(sides))], "split": sides})


def test_copies_are_counted_on_the_later_side():
    images = records(["a", "b", "c", "d", "e"])
    split = placed(["train", "train", "validation", "test", "test"])
    hashes = images[["image_id"]].assign(
        pixels=["p", "q", "r", "p", "s"],
        perceptual=["00" * 32, "ff" * 32, "01" + "00" * 31, "00" * 32, "0f" * 32],
    )
    copies = find_copies(signatures(hashes["perceptual"]))
    report = leak_report(split, images, hashes, copies, None)
    assert report["identical_images"] == {"train-validation": 0, "train-test": 1, "validation-test": 0}
    assert report["near_duplicate_images"] == {"train-validation": 1, "train-test": 1, "validation-test": 1}


def test_exposure_counts_held_out_patients_and_positives_in_training():
    images = records(["a", "a", "b", "b", "c", "a"])
    split = placed(["train", "test", "train", "test", "test", "validation"])
    labels = images[["image_id"]].assign(Nodule=[1, 1, 0, 0, 1, -1], Edema=[0.0] * 6)
    found = exposure(split, images, labels)
    assert found["test"]["patients"] == {"count": 2, "of": 3, "share": 0.6667}
    assert found["test"]["images"] == {"count": 2, "of": 3, "share": 0.6667}
    assert found["test"]["positive_images"] == {"count": 1, "of": 2, "share": 0.5}
    assert found["validation"]["positive_images"] == {"count": 0, "of": 0, "share": 0.0}
    assert "positive_images" not in exposure(split, images, None)["test"]


def test_a_strict_preset_with_a_patient_on_two_sides_names_images():
    images, split = records(["a", "a", "b"]), placed(["train", "test", "test"])
    with pytest.raises(InputError, match="on both sides of train-test, the first with images i0 and i1"):
        require_disjoint(split, images, "strict", "toy")
    with pytest.raises(InputError, match="these lists leak: choose lovt-leaky"):
        require_disjoint(split, images, "lovt", "rsna")
    for preset in ("strict-image", "random-70-15-15-leaky", "official"):
        require_disjoint(split, images, preset, "toy")


def test_a_study_on_both_sides_of_a_strict_preset_is_a_leak():
    images = records(["a", "b", "c"]).assign(study_id=["s", "s", "t"])
    with pytest.raises(
        InputError, match="1 studies occur on both sides of train-test, the first with images"
    ):
        require_disjoint(placed(["train", "test", "test"]), images, "strict", "toy")


def test_a_class_that_one_source_alone_gives_is_flagged_in_both_spellings():
    sites = ["rsna"] * 12 + ["rnsa"] * 8 + ["rsna"] * 5 + ["sirm"] * 15 + [None]
    images = records([f"p{k}" for k in range(41)], sites)
    labels = images[["image_id"]].assign(
        Normal=[1.0] * 20 + [0.0] * 21, Pneumonia=[0.0] * 20 + [1.0] * 8 + [0.0] * 13
    )
    found = sources_of_classes(labels, images)
    assert found["images"] == {
        "Normal": {"rsna": 20}, "Pneumonia": {"rsna": 5, "sirm": 3}, "none of these": {"sirm": 12},
    }  # fmt: skip
    assert found["confounded"] == [
        {"class": "Normal", "source": "rsna", "share": 1.0, "share_of_others": 0.25},
        {"class": "none of these", "source": "sirm", "share": 1.0, "share_of_others": round(3 / 28, 4)},
    ]
    few = sources_of_classes(labels.iloc[11:31], images.iloc[11:31])
    assert few["images"]["Normal"] == {"rsna": 9}
    assert few["confounded"] == []
    one = sources_of_classes(labels, images.assign(site="rsna"))
    assert one["confounded"] == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """CheXpert and a selection of it, as an experiment has them."""
    root = trees.chexpert(tmp_path_factory.mktemp("raw"), patients=60)
    out = tmp_path_factory.mktemp("data") / "prepared"
    prepare("chexpert", root, out / "chexpert", 16, presets=["strict", "official-validation"])
    prepare("chexpert_5x200_prior", root, out / "selection", 16, presets=["strict", "official"])
    return out


def settings(pretraining, **split):
    return {
        "datasets": ["chexpert", "selection"],
        "pretraining": {"dataset": "chexpert", "preset": pretraining},
        "evaluations": [
            {"dataset": name, "split": {"default": preset}, "folds": None} for name, preset in split.items()
        ],
    }


def test_a_selection_shares_patients_and_images_with_its_data_set(prepared):
    out = prepared.with_name("leaks.json")
    shared_between_datasets(settings("strict", selection="official"), prepared, out)
    row = read_json(out)["pretraining"][0]
    chexpert, selection = PreparedDataset(prepared / "chexpert"), PreparedDataset(prepared / "selection")
    train, test = chexpert.select("strict", 0, "train"), selection.select("official", 0, "test")
    both = set(train["image_id"]) & set(test["image_id"])
    assert row["identical_images"] == row["near_duplicate_images"] == len(both) > 0
    assert row["patients"] == len(set(train["patient_id"]) & set(test["patient_id"])) >= row["studies"] > 0
    assert row["test_images"] == len(test)
    assert read_json(out)["evaluations"] == []


def test_training_and_test_of_two_evaluations_are_compared(prepared, tmp_path, monkeypatch):
    out = prepared.with_name("leaks.json")
    given = settings("strict", chexpert="strict", selection="official")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(prepared.parent)
    result = CliRunner().invoke(app, ["leaks", "--settings", json.dumps(given), "--out", str(out)])
    assert result.exit_code == 0, result.output
    rows = read_json(out)["evaluations"]
    assert [(row["train"]["dataset"], row["test"]["dataset"]) for row in rows] == [("chexpert", "selection")]


def test_pretraining_on_patients_of_a_strict_test_set_is_an_error(prepared, tmp_path):
    with pytest.raises(InputError, match=r"on chexpert \(official-validation, train\) has") as error:
        shared_between_datasets(settings("official-validation", selection="strict"), prepared, tmp_path / "x")
    assert "test patients of selection (strict), with test images train_patient" in str(error.value)
    assert "evaluate by one that is not called strict" in str(error.value)
    assert not (tmp_path / "x").exists()
    shared_between_datasets(settings("strict", selection="strict"), prepared, tmp_path / "x")
    assert read_json(tmp_path / "x")["pretraining"][0]["patients"] == 0
