import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from prior.data import records, schemas, store
from prior.data.manifest import summarise_dropped
from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader
from prior.datasets.base import read_report
from prior.errors import InputError
from tests.datasets import trees


@pytest.fixture(scope="module")
def rsna(tmp_path_factory):
    root = trees.rsna(tmp_path_factory.mktemp("raw"))
    out = tmp_path_factory.mktemp("prepared") / "rsna"
    prepare("rsna", root, out, 32, fits=("pad", "stretch"))
    return root, PreparedDataset(out)


def test_manifest_counts_and_hashes(rsna):
    _, data = rsna
    assert data.manifest["counts"]["images"] == 29
    assert data.manifest["dropped"][0]["count"] == 1
    assert data.manifest["counts"]["findings"]["Pneumonia"]["present"] == 9
    assert data.manifest["simulated"] is False
    assert len(data.manifest["content_hash"]) == 16
    assert data.manifest["leaks"]["strict"]["patients"]["train-test"] == 0


def test_header_facts_reach_the_records(rsna):
    _, data = rsna
    assert set(data.images["view"]) == {"AP"}
    assert set(data.images["sex"]) == {"F"}
    assert set(data.images["age"]) == {51.0}


def test_boxes_map_into_the_store_and_are_filled_as_masks(rsna):
    _, data = rsna
    boxes = data.store_boxes(32)
    image = boxes["image_id"].iloc[0]
    row = int(data.images.set_index("image_id").loc[image, "row"])
    mask = data.mask_pixels(32)[row]
    first = boxes.iloc[0]
    inside = mask[round(first.y_min) : round(first.y_max), round(first.x_min) : round(first.x_max)]
    assert inside.mean() > 0.9
    negative = data.labels.loc[data.labels["Pneumonia"] == 0, "image_id"]
    rows = data.images.loc[data.images["image_id"].isin(negative), "row"]
    assert data.mask_pixels(32)[rows.to_numpy()].sum() == 0


def test_boxes_beyond_the_border_are_cut_and_counted(rsna):
    _, data = rsna
    assert data.manifest["boxes_clipped"] == 9
    assert data.boxes["x_max"].max() == 48


def test_select_is_nested_and_ordered(rsna):
    _, data = rsna
    whole = data.select("strict", 0, "train")
    half = data.select("strict", 0, "train", 0.5)
    assert whole["rank"].is_monotonic_increasing
    assert half["image_id"].tolist() == whole["image_id"].tolist()[: len(whole) // 2]
    assert len(data.select("strict", 0, "validation", 0.01)) == len(data.select("strict", 0, "validation"))


def test_folds_are_disjoint_and_cover_everything(rsna):
    _, data = rsna
    sides = [
        set(data.select("strict-5fold", 0, side, fold=1)["image_id"])
        for side in ("train", "test", "validation")
    ]
    assert sum(map(len, sides)) == len(set().union(*sides)) == len(data.images)
    with pytest.raises(InputError, match="no fold 7"):
        data.select("strict-5fold", 0, "train", fold=7)
    with pytest.raises(InputError, match="no seed 9"):
        data.split("strict", 9)


def test_the_store_holds_the_decoded_image(rsna):
    _, data = rsna
    row = data.images.iloc[0]
    expected = trees.picture(int(row["image_id"][-4:]), 48, 48)
    assert np.abs(data.pixels(32)[row["row"]].mean() - expected.mean()) < 2


def test_workers_and_repetition_do_not_change_the_result(tmp_path, rsna):
    root, data = rsna
    again = prepare("rsna", root, tmp_path / "rsna", 32, fits=("pad", "stretch"), workers=2)
    assert again == data.manifest
    for name in ("images_32_pad.npy", "masks_32_stretch.npy", "splits/strict.parquet", "manifest.json"):
        assert (tmp_path / "rsna" / name).read_bytes() == (data.root / name).read_bytes()


def test_an_interrupted_run_continues(tmp_path, monkeypatch):
    root = trees.mimic_cxr(tmp_path / "raw", patients=40)
    reference = prepare("mimic_cxr", root, tmp_path / "reference", 16)
    original, calls = store.decode_chunk, []

    def stop_at_second(task):
        calls.append(task.start)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(task)

    monkeypatch.setattr(store, "decode_chunk", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        prepare("mimic_cxr", root, tmp_path / "out", 16)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert prepare("mimic_cxr", root, tmp_path / "out", 16) == reference
    assert calls == [0, 32, 32, 64]
    assert not list((tmp_path / "out").glob(".partial-*"))


def test_an_image_that_will_not_open_is_named_or_dropped(tmp_path):
    root = trees.mimic_cxr(tmp_path / "raw", patients=9)
    broken = next(root.rglob("d004-0.jpg"))
    broken.write_bytes(b"\xff\xd8 half an image")
    with pytest.raises(InputError, match=r"1 of 18 images will not open.*d004-0\.jpg"):
        prepare("mimic_cxr", root, tmp_path / "out", 16)
    manifest = prepare("mimic_cxr", root, tmp_path / "out", 16, max_unreadable=1)
    assert {key: manifest["dropped"][0][key] for key in ("reason", "count")} == {
        "reason": "image will not open: it is no image",
        "count": 1,
    }
    data = PreparedDataset(tmp_path / "out")
    assert len(data.images) == 17
    assert len(data.pixels(16)) == 18
    assert "d004-0" not in set(data.labels["image_id"])


def test_a_missing_image_is_kept_out_only_if_that_is_allowed(tmp_path):
    root = trees.mimic_cxr(tmp_path / "raw", patients=9)
    next(root.rglob("d004-0.jpg")).unlink()
    with pytest.raises(InputError, match=r"d004-0\.jpg is listed but does not exist \(1 of 18 images"):
        prepare("mimic_cxr", root, tmp_path / "out", 16)
    manifest = prepare("mimic_cxr", root, tmp_path / "out", 16, max_unreadable=1)
    assert manifest["dropped"][0]["reason"] == "image will not open: it does not exist"
    assert len(PreparedDataset(tmp_path / "out").images) == 17


def test_every_image_that_was_allowed_to_be_lost_is_named(tmp_path):
    root = trees.mimic_cxr(tmp_path / "raw")
    lost = sorted(path.relative_to(root).as_posix() for path in root.rglob("*-0.jpg"))[:25]
    for source in lost:
        (root / source).write_bytes(b"no image")
    dropped = prepare("mimic_cxr", root, tmp_path / "out", 16, max_unreadable=25)["dropped"]
    assert dropped[0]["count"] == 25
    assert sorted(dropped[0]["examples"]) == lost
    many = [{"source": str(k), "reason": "why"} for k in range(25)]
    assert summarise_dropped(many) == [
        {"reason": "why", "count": 25, "examples": [str(k) for k in range(20)]}
    ]


def test_what_an_earlier_version_left_goes(tmp_path):
    root = trees.rsna(tmp_path / "raw")
    prepare("rsna", root, tmp_path / "out", 16)
    assert (tmp_path / "out/splits/strict-5fold.parquet").is_file()
    manifest = prepare("rsna", root, tmp_path / "out", 16, presets=("strict",))
    assert [path.name for path in (tmp_path / "out/splits").iterdir()] == ["strict.parquet"]
    assert set(manifest["tables"]) == {
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.parquet")
    }


def test_a_study_of_two_patients_is_refused_before_anything_is_decoded(tmp_path):
    root = trees.mimic_cxr(tmp_path / "raw")
    prefix = root / "mimic-cxr-2.0.0"
    table = pd.read_csv(f"{prefix}-metadata.csv", dtype=str)
    for study in range(50000000, 50000040):
        (root / f"files/p10/p{study - 40000000}/s50000000").mkdir(parents=True, exist_ok=True)
        source = next((root / f"files/p10/p{study - 40000000}/s{study}").glob("*-0.jpg"))
        source.rename(root / f"files/p10/p{study - 40000000}/s50000000" / source.name)
    table.loc[table["ViewPosition"] == "PA", "study_id"] = "50000000"
    table.to_csv(f"{prefix}-metadata.csv", index=False)
    with pytest.raises(InputError, match=r"study 50000000 belongs to two patients; correct the tables$"):
        prepare("mimic_cxr", root, tmp_path / "out", 16)
    assert not (tmp_path / "out").exists()


def test_reports_that_are_files_are_read_part_by_part(tmp_path, monkeypatch):
    root = trees.mimic_cxr(tmp_path / "raw")
    whole = prepare("mimic_cxr", root, tmp_path / "whole", 16)
    assert "text" not in load_reader("mimic_cxr").read(root).reports
    read = []
    monkeypatch.setattr(schemas, "PART", 7)
    monkeypatch.setattr(records, "read_report", lambda path: read.append(path) or read_report(path))
    assert prepare("mimic_cxr", root, tmp_path / "parts", 16) == whole
    reports = PreparedDataset(tmp_path / "parts").reports
    assert len(read) == len(set(read)) == len(reports) == whole["counts"]["reports"] > 14
    texts = {path.stem.removeprefix("s"): path.read_text() for path in root.rglob("s*.txt")}
    assert dict(zip(reports["study_id"], reports["text"], strict=True)) == texts


def test_ids_are_text_and_no_objects(tmp_path):
    raw = load_reader("mimic_cxr").read(trees.mimic_cxr(tmp_path))
    for frame in (raw.images, raw.labels):
        frame["image_id"] = frame["image_id"].astype(object)
    before = raw.images.copy(), raw.labels.copy()
    records.compact(raw)
    assert raw.images["image_id"].dtype == raw.labels["image_id"].dtype == "str"
    for frame, old in zip((raw.images, raw.labels), before, strict=True):
        pd.testing.assert_frame_equal(frame, old.astype({"image_id": "str"}))


def test_lateral_images_are_records_but_never_split(tmp_path):
    root = trees.mimic_cxr(tmp_path / "raw", patients=9)
    prepare("mimic_cxr", root, tmp_path / "out", 16)
    data = PreparedDataset(tmp_path / "out")
    views = data.split("strict", 0).merge(data.images[["image_id", "view"]], on="image_id")["view"]
    assert set(views) == {"PA"}
    assert "LATERAL" in set(data.images["view"])


def test_wrong_arguments(tmp_path):
    with pytest.raises(InputError, match="unknown"):
        prepare("chest", tmp_path, tmp_path / "out", 32)
    with pytest.raises(InputError, match="fits"):
        prepare("rsna", tmp_path, tmp_path / "out", 32, fits=("crop",))
    with pytest.raises(InputError, match=r"run `prior prepare`"):
        PreparedDataset(tmp_path)


def test_preparing_starts_without_torch():
    modules = "prior.data.prepare, prior.data.prepared, prior.datasets"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_manifest_names_no_patient_and_no_text(rsna):
    _, data = rsna
    text = json.dumps({**data.manifest, "dropped": []})
    assert "image0001" not in text
