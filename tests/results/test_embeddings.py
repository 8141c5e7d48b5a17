"""Maps of test images: the same picture for the same features, of what the predictions say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import FINDINGS, write_predictions

from prior.data.files import read_json, write_json
from prior.results import embeddings
from prior.results.names import embedding_files, embedding_places

STEM = "embeddings_classification_chexpert_strict_small-linear"


def test_the_plane_is_stable_and_keeps_clusters_apart() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 12)) * np.array([100, *[1.0] * 11])
    features[:30, 3:6] += 6
    places = embeddings.plane(features)
    assert places.shape == (60, 2)
    np.testing.assert_array_equal(places, embeddings.plane(features))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(60)
    nearest = distance.argmin(axis=1) < 30
    assert (nearest == (np.arange(60) < 30)).mean() > 0.95
    assert np.isfinite(embeddings.plane(np.ones((5, 3)) * np.arange(5)[:, None])).all()


def test_truth_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "MOST_FINDINGS", 2)
    rows = [
        *(("b", "x", 1.0), ("b", "y", np.nan), ("b", "z", 0.0)),
        *(("a", "x", 0.0), ("a", "y", 1.0), ("a", "z", 0.0), ("c", "y", 1.0)),
    ]
    frame = pd.DataFrame(rows, columns=["image_id", "finding", "label"])
    pd.concat([frame.assign(seed=0), frame.assign(seed=1)]).to_parquet(tmp_path / "stem.parquet")
    found = embeddings.image_truth(tmp_path / "stem")
    assert found.index.tolist() == ["a", "b", "c"]
    assert found.to_dict("list") == {"x": [False, True, False], "y": [True, False, True]}
    pd.DataFrame(columns=["fraction", "seed", "fold", "image_id"]).to_parquet(tmp_path / "refused.parquet")
    assert embeddings.image_truth(tmp_path / "refused").empty


def test_one_map_for_each_classified_data_set() -> None:
    jobs = [
        *("classification/rsna/strict_small-metadata/a", "classification/rsna/strict_small-linear/a"),
        *("classification/rsna/strict_small-finetune/a", "segmentation/siim/strict_small-frozen/a"),
        *("zero_shot/chexpert/strict_small-prompts/a", "classification/chexpert/benchx-finetune/b"),
    ]
    assert embedding_places(jobs) == [("rsna", "strict_small-linear"), ("chexpert", "benchx-finetune")]
    assert embedding_files(jobs[:1]) == []


def test_pictures_are_byte_stable_and_name_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ("random", "convirt", "prior")
    stems = [write_predictions(tmp_path, "classification", method, (0.1,), (0,)) for method in methods]
    for stem in stems:
        info = read_json(Path(f"{stem}.json"))
        write_json(Path(f"{stem}.json"), {**info, "knobs": {"fit": "pad"}})
    ids = pd.read_parquet(f"{stems[0]}.parquet")["image_id"].drop_duplicates()
    folder = tmp_path / "data" / "chexpert"
    write_json(folder / "manifest.json", {"dataset": "chexpert"})
    images = pd.DataFrame({"image_id": ids, "study_id": ids, "patient_id": ids, "source": ids})
    images = images.assign(study_order=0, view="AP", sex=None, age=np.nan, site=None, height=8, width=8)
    images.assign(row=np.arange(len(images))[::-1]).to_parquet(folder / "images.parquet")
    features = np.random.default_rng(0).normal(size=(len(images), 6))
    asked = []

    def pooled(bundle: Path, data: object, fit: str, cache: Path) -> np.ndarray:
        asked.append((bundle.name, fit))
        return features

    monkeypatch.setattr(embeddings, "_pooled", pooled)
    contents = []
    for name in ("a", "b"):
        out = tmp_path / name
        out.mkdir()
        (out / "embeddings_of_yesterday.png").touch()
        embeddings.embedding_maps(stems, tmp_path / "models", tmp_path / "data", tmp_path, True, out)
        contents.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {f"{STEM}.svg", f"{STEM}.png"}
    assert set(asked) == {
        *(("random-default-s0", "pad"), ("convirt-default-s0", "pad"), ("prior-described-s0", "pad")),
    }
    text = contents[0][f"{STEM}.svg"].decode()
    names = [word for name in FINDINGS for word in name.split("_")]
    assert all(word in text for word in ("SIMULATED DATA", *methods, *names))
    assert not any(image in text for image in ids)
