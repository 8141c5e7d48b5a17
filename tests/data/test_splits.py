import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from prior.data import recipes
from prior.data.keys import bucket, choose_preset, split_of, take_fraction
from prior.data.splits import ALL_PRESETS, check_preset, make_split
from prior.errors import InputError
from prior.protocols import load_protocol, show


def alternating(k):
    return "train" if k % 3 else "validation"


def make(
    preset="strict", patients=200, seeds=(0, 1), per_patient=2, held_out=(), official=alternating, placed=None
):
    n = patients * per_patient
    images = pd.DataFrame(
        {
            "image_id": [f"i{k:04d}" for k in range(n)],
            "patient_id": [f"p{k // per_patient}" for k in range(n)],
            "official_split": [official(k) for k in range(n)],
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
        pd.concat(
            make_split(preset, images, labels, keys, images["patient_id"].isin(held_out), seeds, placed),
            ignore_index=True,
        ),
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
@settings(max_examples=50)
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
        ("strict-pretrain", None, (), "choose strict-image$"),
        ("strict-5fold", None, (), "choose strict-5fold-image$"),
        ("strict-image", "mimic", (), "has patient keys; choose strict$"),
        ("strict-5fold-image", "mimic", (), "choose strict-5fold$"),
        ("official-image", "mimic", ("test",), "choose official$"),
        ("seeded-60-20-20-image", "mimic", (), "choose seeded-60-20-20$"),
        ("random-60-20-20-image", "nih", (), "choose random-60-20-20-leaky$"),
        ("random-60-20-20-leaky", None, (), "choose random-60-20-20-image$"),
        ("lovt-image", "nih", (), "choose lovt$"),
        ("lovt-leaky", None, (), "choose lovt-image$"),
        ("siim-rows-70-15-15-leaky", None, (), "is not for dataset toy; choose strict$"),
        ("chexpert-valid202", "chexpert", ("validation",), "is not for dataset toy"),
        ("official", "nih", (), "no official test"),
        ("official-validation", "nih", ("test",), "no official validation"),
    ],
)
def test_presets_promise_only_what_they_keep(preset, family, official, message):
    with pytest.raises(InputError, match=message):
        check_preset(preset, family, official, "toy")


def test_a_peers_recipe_needs_the_lists_that_it_draws_from():
    with pytest.raises(InputError, match=r"chexpert has no official test list; choose strict$"):
        check_preset("chexpert-test500", "chexpert", ("train", "validation"), "chexpert")
    with pytest.raises(InputError, match=r"covidx has no official test list; choose strict-image$"):
        check_preset("covidx-80-20-image", None, ("train",), "covidx")
    check_preset("siim-rows-70-15-15-leaky", None, (), "siim")
    check_preset("siim-rows-70-15-15-leaky", "nih", (), "siim")


def sides_of(split, seed=0):
    return split[split["seed"] == seed].groupby("split")["image_id"].apply(list).to_dict()


def test_images_with_several_rows_fall_on_several_sides_with_their_sizes():
    rows = pd.Series([f"i{k:04d}" for k in range(400) for _ in range(1 + k % 3)])
    placed = recipes.by_table_rows(rows)
    train, rest = train_test_split(rows.tolist(), test_size=0.3, random_state=0)
    test, validation = train_test_split(rest, test_size=0.5, random_state=0)
    split, _, _ = make("siim-rows-70-15-15-leaky", placed=placed)
    sides = sides_of(split, seed=1)
    assert {k: set(v) for k, v in sides.items()} == {
        "train": set(train), "validation": set(validation), "test": set(test),
    }  # fmt: skip
    assert all(len(images) == len(set(images)) for images in sides.values())
    assert len(set(sides["train"]) & set(sides["test"])) > 10
    ranks = split[(split["seed"] == 0) & (split["split"] == "train")]["rank"]
    assert np.sort(ranks) == pytest.approx(np.arange(len(ranks)) / len(ranks))


def test_covidx_validation_is_a_fifth_of_the_training_list():
    split, images, _ = make("covidx-80-20-leaky", official=lambda k: ("train", "test", "validation")[k % 3])
    pool = [name for k, name in enumerate(images["image_id"]) if k % 3 != 1]
    train, validation = train_test_split(pool, test_size=0.2, random_state=0)
    sides = {side: set(names) for side, names in sides_of(split).items()}
    assert sides == {
        "train": set(train), "validation": set(validation), "test": {*images["image_id"]} - {*pool},
    }  # fmt: skip


def test_mgcas_chexpert_validation_is_drawn_by_image_and_valid_csv_is_tested():
    split, images, _ = make("chexpert-5000-leaky")
    sides = {side: set(names) for side, names in sides_of(split).items()}
    listed = images.groupby("official_split")["image_id"].apply(set)
    assert sides["test"] == listed["validation"]
    assert sides["train"] | sides["validation"] == listed["train"]
    assert len(sides["validation"]) == len(listed["train"]) // 10
    n = 60_000
    many = pd.Series(["train"] * n + ["validation"] * 3, dtype=object)
    drawn = recipes.within_official("chexpert-5000-leaky", many)
    assert drawn.value_counts().to_dict() == {"train": n - 5000, "validation": 5000, "test": 3}
    expected = np.random.RandomState(0).choice(n, 5000, replace=False)
    assert set(np.flatnonzero(drawn == "validation")) == set(expected.tolist())


def test_mgcas_object_cxr_validation_is_a_tenth_of_train_csv_and_dev_is_tested():
    names = {"train": 8000, "validation": 1000, "test": 1000}
    frame = pd.DataFrame({"official_split": [side for side, n in names.items() for _ in range(n)]})
    frame["image_id"] = [f"{side}_{k:05d}" for side, n in names.items() for k in range(n)]
    unseen, preset = frame["image_id"] == "", "object-90-10-image"
    check_preset(preset, None, ("train", "validation"), "object_cxr")
    (split,) = make_split(preset, frame, frame[["image_id"]], frame["image_id"], unseen, [0])
    train, validation = train_test_split(frame["image_id"][:8000].tolist(), test_size=0.1, random_state=0)
    sides = {side: set(part) for side, part in sides_of(split).items()}
    assert sides == {"train": {*train}, "validation": {*validation}, "test": {*frame["image_id"][8000:9000]}}
    with pytest.raises(InputError, match="is not for dataset siim"):
        check_preset(preset, None, ("validation",), "siim")
    with pytest.raises(InputError, match="no official validation list"):
        check_preset(preset, None, ("train",), "object_cxr")


def test_the_two_test_sets_of_chexpert_share_training_and_validation():
    official = lambda k: ("train", "train", "test", "validation")[k // 2 % 4]  # noqa: E731
    valid, images, _ = make("chexpert-valid202", official=official)
    test, _, _ = make("chexpert-test500", official=official)
    a, b = ({side: set(names) for side, names in sides_of(split).items()} for split in (valid, test))
    assert (a["train"], a["validation"]) == (b["train"], b["validation"])
    listed = images.groupby("official_split")["image_id"].apply(set)
    assert (a["test"], b["test"]) == (listed["validation"], listed["test"])
    assert a["train"] | a["validation"] == listed["train"]


def test_published_lists_are_ranked_by_their_rows():
    names = [f"i{k:04d}" for k in (7, 3, 1, 9, 5, 8)]
    placed = pd.DataFrame(
        {"image_id": [*names, "absent"], "split": ["train"] * 4 + ["validation", "test", "test"]}
    )
    split, _, _ = make("lovt", placed=placed)
    for seed in (0, 1):
        one = split[split["seed"] == seed]
        assert one["image_id"].tolist() == names
        assert one["rank"].tolist()[:5] == [0, 0.25, 0.5, 0.75, 0]
        assert np.isnan(one["rank"].iloc[5])


def test_every_seed_has_its_own_split_of_patients():
    split, images, _ = make("seeded-60-20-20", patients=500)
    rows = split.merge(images, on="image_id")
    assert rows.groupby(["seed", "patient_id"])["split"].nunique().max() == 1
    shares = rows[rows["seed"] == 1]["split"].value_counts(normalize=True)
    assert shares.to_dict() == pytest.approx({"train": 0.6, "validation": 0.2, "test": 0.2}, abs=0.06)
    test = [set(rows.loc[(rows["seed"] == s) & (rows["split"] == "test"), "patient_id"]) for s in (0, 1)]
    assert len(test[0] & test[1]) < len(test[0]) / 2


@pytest.mark.parametrize(
    ("preset", "held_out", "state"),
    [("random-70-15-15-leaky", 0.3, 0), ("random-60-20-20-image", 0.4, 0)],
)
def test_recipes_of_peers_are_scikit_learns_in_the_order_of_the_ids(preset, held_out, state):
    ids = [f"i{k:04d}" for k in range(202)]
    train, rest = train_test_split(ids, test_size=held_out, random_state=state)
    test, validation = train_test_split(rest, test_size=0.5, random_state=state)
    images = pd.DataFrame({"image_id": ids[::-1]})
    for split in make_split(preset, images, images, images["image_id"], images["image_id"] == "", [0, 1]):
        sides = split.groupby("split")["image_id"].apply(set)
        assert sides.to_dict() == {"train": set(train), "test": set(test), "validation": set(validation)}


def test_a_leaky_recipe_leaks_and_has_the_sizes_of_the_peers():
    split, images, _ = make("random-60-20-20-leaky")
    rows = split[split["seed"] == 0].merge(images, on="image_id")
    assert rows.groupby("patient_id")["split"].nunique().max() > 1
    frame = pd.DataFrame({"image_id": [f"{k:05d}" for k in range(26_684)]})
    for preset, sizes in (
        ("random-60-20-20", [16_010, 5337, 5337]),
        ("random-70-15-15", [18_678, 4003, 4003]),
    ):
        (made,) = make_split(
            f"{preset}-image", frame, frame, "rsna:" + frame["image_id"], frame["image_id"] == "", [0]
        )
        counts = made["split"].value_counts()
        assert counts[["train", "validation", "test"]].tolist() == sizes


def test_the_stratified_recipe_spreads_positives():
    n = 1000
    images = pd.DataFrame({"image_id": [f"i{k:04d}" for k in range(n)]})
    labels = images.assign(Finding=(np.arange(n) < 200).astype(float))
    (split,) = make_split(
        "stratified-70-15-15-image", images, labels, "x:" + images["image_id"], images["image_id"] == "", [0]
    )
    share = split.merge(labels, on="image_id").groupby("split")["Finding"].mean()
    assert share.tolist() == [0.2, 0.2, 0.2]


@pytest.mark.parametrize(
    ("prepared", "dataset", "folded", "expected"),
    [
        (("random-60-20-20-leaky", "lovt-leaky"), "rsna", False, "lovt-leaky"),
        (("random-60-20-20-leaky",), "rsna", False, "random-60-20-20-leaky"),
        (("random-60-20-20-image", "lovt-image"), "rsna", False, "lovt-image"),
        (("random-60-20-20-image",), "rsna", False, "random-60-20-20-image"),
        (("strict",), "rsna", False, "random-60-20-20-leaky"),
        (("official-validation-image",), "object_cxr", False, "official-validation-image"),
        (("lovt-leaky",), "siim", False, "strict"),
        (("strict-5fold-image",), "siim", True, "strict-5fold-image"),
    ],
)
def test_the_first_preset_that_is_prepared_is_taken(prepared, dataset, folded, expected, tmp_path):
    stated = {
        "default": ["lovt-leaky", "random-60-20-20-leaky"],
        "object_cxr": ["lovt-image", "official-validation"],
        "siim": "strict",
        "folds": "strict-5fold",
    }
    for preset in prepared:
        (tmp_path / f"{preset}.parquet").touch()
    assert choose_preset(stated, dataset, folded, tmp_path) == expected


def test_every_preset_that_a_family_names_is_one():
    for family in show.families():
        for task, setting in show.settings(family):
            for stated in load_protocol(family, task, setting)["split"].values():
                wanted = {stated} if isinstance(stated, str) else set(stated)
                assert wanted <= set(ALL_PRESETS), (family, task, setting)
