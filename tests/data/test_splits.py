import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prior.data.splits import bucket, check_preset, make_split, split_of, take_fraction
from prior.errors import InputError


def make(preset="strict", patients=200, seeds=(0, 1), per_patient=2, held_out=()):
    n = patients * per_patient
    images = pd.DataFrame(
        {
            "image_id": [f"i{k:04d}" for k in range(n)],
            "patient_id": [f"p{k // per_patient}" for k in range(n)],
            "official_split": ["train" if k % 3 else "validation" for k in range(n)],
        }
    )
    rng = np.random.default_rng(0)
    labels = pd.DataFrame(
        {
            "image_id": images["image_id"],
            "Common": rng.random(n) < 0.4,
            "Rare": np.arange(n) % 97 == 0,
            "Absent": 0.0,
        }
    ).astype({"Common": float, "Rare": float})
    keys = "mimic:" + images["patient_id"]
    return (
        make_split(preset, images, labels, keys, images["patient_id"].isin(held_out), seeds),
        images,
        labels,
    )


def test_hash_is_the_first_eight_hex_digits():
    digits = hashlib.sha256(b"nih:61").hexdigest()[:8]
    assert bucket("nih:61") == int(digits, 16) % 100
    assert [split_of(u) for u in (0, 19, 20, 29, 30, 99)] == ["test"] * 2 + ["validation"] * 2 + ["train"] * 2


def test_patients_never_cross_and_assignment_ignores_the_seed():
    split, images, _ = make()
    sides = split.merge(images, on="image_id").groupby("patient_id")["split"].nunique()
    assert sides.max() == 1
    one, two = (split[split["seed"] == s].set_index("image_id")["split"] for s in (0, 1))
    assert one.sort_index().equals(two.sort_index())


def test_ranks_are_positions_over_n_and_differ_between_seeds():
    split, _, _ = make()
    for (_, side), part in split.groupby(["seed", "split"]):
        ranks = np.sort(part["rank"].to_numpy())
        if side == "test":
            assert np.isnan(ranks).all()
        else:
            assert ranks == pytest.approx(np.arange(len(part)) / len(part))
    first = [split[(split["seed"] == s) & (split["rank"] == 0)]["image_id"].tolist() for s in (0, 1)]
    assert first[0] != first[1]


def test_every_label_has_a_positive_within_the_first_images():
    split, _, labels = make()
    train = split[(split["seed"] == 1) & (split["split"] == "train")].sort_values("rank")
    front = labels.set_index("image_id").loc[train["image_id"].head(2)]
    assert front["Common"].any()
    assert front["Rare"].any()


def test_images_follow_their_patient():
    split, images, _ = make(per_patient=4)
    train = split[(split["seed"] == 0) & (split["split"] == "train")].sort_values("rank").iloc[2:]
    owners = train.merge(images, on="image_id", how="left")["patient_id"].to_numpy()
    changes = (owners[1:] != owners[:-1]).sum() + 1
    assert changes <= len(set(owners)) + 2


def test_folds_partition_and_fold_zero_is_the_strict_test_side():
    folded, _, _ = make("strict-5fold")
    strict, _, _ = make("strict")
    one = folded[folded["seed"] == 0].set_index("image_id")
    test = set(strict.loc[(strict["seed"] == 0) & (strict["split"] == "test"), "image_id"])
    assert set(one.index[one["fold"] == 0]) == test
    assert set(one["fold"]) == set(range(5))
    assert one["rank"].notna().all()


def test_official_validation_becomes_the_test_side():
    split, images, _ = make("official-validation")
    rows = split[split["seed"] == 0].merge(images, on="image_id")
    assert set(rows.loc[rows["official_split"] == "validation", "split"]) == {"test"}
    assert set(rows.loc[rows["official_split"] == "train", "split"]) == {"train", "validation"}


def test_pretraining_leaves_out_held_out_patients_but_keeps_the_test_side():
    strict, images, _ = make()
    side = strict.merge(images, on="image_id").groupby("split")["patient_id"].first()
    split, _, _ = make("strict-pretrain", held_out=tuple(side))
    kept = set(split.merge(images, on="image_id")["patient_id"])
    assert side["test"] in kept
    assert side["train"] not in kept
    assert side["validation"] not in kept


@given(st.integers(1, 5000), st.floats(0.001, 1), st.floats(0.001, 1))
@settings(max_examples=50, deadline=None)
def test_fractions_are_nested(n, a, b):
    small, large = sorted((a, b))
    assert 1 <= take_fraction(n, small) <= take_fraction(n, large) <= n


def test_one_percent_as_the_peers_count_it():
    assert take_fraction(16_010, 0.01) == 160
    assert take_fraction(16_010, 0.1) == 1601
    assert take_fraction(40, 0.01) == 1
    assert take_fraction(100, 0.01, floor=32) == 32
    with pytest.raises(InputError, match="fraction 0"):
        take_fraction(10, 0)


@pytest.mark.parametrize(
    ("preset", "family", "official", "message"),
    [
        ("mystery", "mimic", (), "unknown"),
        ("strict", None, (), "no patient key"),
        ("strict-image", "mimic", (), "has patient keys"),
        ("official", "nih", (), "no official test"),
        ("official-validation", "nih", ("test",), "no official validation"),
    ],
)
def test_presets_promise_only_what_they_keep(preset, family, official, message):
    with pytest.raises(InputError, match=message):
        check_preset(preset, family, official, "toy")
