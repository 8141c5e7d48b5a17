"""What pre-training saw of a test set: by patient, by archive, and how tables and page show it."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic import write_predictions

from prior.data.files import read_json, write_json
from prior.errors import InputError
from prior.metrics.rows import read_rows
from prior.metrics.score import score
from prior.provenance import hash_patients
from prior.results.collect import collect
from prior.results.contamination import archive, contamination_notes, contaminations, describe, sign
from prior.results.latex import latex_table
from prior.results.marks import BEST, NOT_WORSE, cell_text, read_cell
from prior.results.page import page
from prior.results.tables import tables

SEEN = {"pretraining_data": "nih_small", "trained_on": hash_patients(["nih:1", "nih:2"])}
UNKNOWN = "unknown: test patients cannot be told from those of the same archive (nih)"
NIH, UNMATCHED = (
    {"dataset": "chestx_det", "patient_family": "nih"},
    {"dataset": "siim", "patient_family": None},
)


@pytest.mark.parametrize(
    ("bundle", "manifest", "tested", "pairs", "words", "mark"),
    [
        (
            SEEN,
            NIH,
            ["nih:2", "nih:3", "nih:3"],
            "nih",
            "patients: 1 of 2 test patients in pre-training",
            "‡",
        ),
        (SEEN, NIH, ["nih:3"], "nih", "none: other patients of the same archive: nih", "§"),
        (SEEN, {**NIH, "dataset": "nih_small"}, ["nih:3"], "nih", "none", ""),
        (
            SEEN,
            {**NIH, "dataset": "nih_small"},
            ["nih:1"],
            "nih",
            "labels: 1 of 1 test patients in pre-training",
            "‡",
        ),
        (SEEN, UNMATCHED, ["siim:a"], "nih", UNKNOWN, "‡"),
        (SEEN, UNMATCHED, ["siim:a"], "mimic", "none", ""),
        (SEEN, {"dataset": "kermany", "patient_family": "kermany"}, ["kermany:1"], "nih", "none", ""),
        ({**SEEN, "trained_on": []}, NIH, ["nih:1"], "nih", UNKNOWN, "‡"),
        ({"pretraining_data": "", "trained_on": []}, NIH, ["nih:1"], "", "none", ""),
    ],
)
def test_what_two_data_sets_share(
    bundle: dict[str, Any], manifest: dict[str, Any], tested: list[str], pairs: str, words: str, mark: str
) -> None:
    assert describe({"method": "prior", **bundle}, manifest, tested, pairs, "strict") == words
    assert sign(words) == mark


@pytest.mark.parametrize(
    ("corpus", "used", "part", "dataset", "preset", "words", "mark"),
    [
        (
            "chexpert",
            ["images", "labels"],
            "all",
            "chexpert",
            "strict",
            "labels: pre-training saw films",
            "‡",
        ),
        (
            "nih_chestxray14",
            ["images"],
            "all",
            "rsna",
            "strict",
            "images: pre-training saw films of this",
            "‡",
        ),
        ("siim", ["images"], "all", "rsna", "strict", "patients: pre-training may have seen other", "‡"),
        ("mimic_cxr", ["images", "reports"], "train", "mimic_cxr", "strict", "labels: pre-training saw", "‡"),
        ("mimic_cxr", ["images", "reports"], "train", "mimic_cxr", "official", "none", ""),
        ("mimic_cxr", ["images", "reports"], "all", "chexpert", "strict", "none", ""),
        ("somewhere", ["images"], "all", "chexpert", "strict", "unknown: what pre-training saw", "‡"),
    ],
)
def test_released_encoders_are_marked_by_their_corpora(
    corpus: str, used: list[str], part: str, dataset: str, preset: str, words: str, mark: str
) -> None:
    trained_on = [{"corpus": corpus, "used": used, "part": part}]
    bundle = {"method": "imported", "pretraining_data": "", "settings": {"trained_on": trained_on}}
    text = describe(bundle, {"dataset": dataset}, ["a"], "", preset)
    assert text.startswith(words)
    assert (text == "none") == (words == "none")
    assert sign(text) == mark
    nothing = {**bundle, "settings": {"trained_on": []}}
    assert describe(nothing, {"dataset": dataset}, ["a"], "", preset).startswith("unknown: ")


def test_archives() -> None:
    assert archive({"dataset": "rsna", "patient_family": None}) == "nih"
    assert archive({"dataset": "rsna", "patient_family": "nih"}) == "nih"
    assert archive({"dataset": "object_cxr", "patient_family": None}) == "object_cxr"
    assert archive({"dataset": "ms_cxr", "patient_family": "mimic"}) == "mimic"


def prepare(root: Path, dataset: str, family: str | None, patients: dict[str, str]) -> None:
    folder = root / "data" / "prepared" / dataset
    write_json(folder / "manifest.json", {"dataset": dataset, "patient_family": family})
    images = pd.DataFrame({"image_id": list(patients), "patient_id": list(patients.values())})
    images.to_parquet(folder / "images.parquet")


def predict(root: Path, dataset: str, images: list[str], bundle: dict[str, Any], task: str = "t") -> Path:
    path = root / "predictions" / task / dataset / "strict-linear" / "prior-described-s0.json"
    write_json(path, {"bundle": {"method": "prior", **bundle}})
    pd.DataFrame({"image_id": images}).to_parquet(path.with_suffix(".parquet"))
    return path


def test_sets_cut_from_the_archive_of_the_pairs_are_marked_and_others_not(tmp_path: Path) -> None:
    """As in `real_small`: pairs and lesions come from NIH, lungs do not."""
    prepare(tmp_path, "nih_small", "nih", {"a": "1", "b": "2", "c": "3"})
    prepare(tmp_path, "lesion_boxes", "nih", {"d": "4"})
    prepare(tmp_path, "chestx_det", "nih", {"e": "2", "f": "9"})
    prepare(tmp_path, "kermany", "kermany", {"g": "1"})
    tested = {"nih_small": ["c", "c"], "lesion_boxes": ["d"], "chestx_det": ["e", "f"], "kermany": ["g"]}
    paths = [predict(tmp_path, dataset, images, SEEN) for dataset, images in tested.items()]
    found = contaminations(paths, tmp_path / "data" / "prepared", {})
    assert found == {
        "t/nih_small/strict-linear/prior-described-s0": "none",
        "t/lesion_boxes/strict-linear/prior-described-s0": "none: other patients of the same archive: nih",
        "t/chestx_det/strict-linear/prior-described-s0": "patients: 1 of 2 test patients in pre-training",
        "t/kermany/strict-linear/prior-described-s0": "none",
    }


def test_selections_from_the_training_list_are_marked(tmp_path: Path) -> None:
    """CheXpert 5x200 is cut from the list that an encoder was trained on; MS-CXR from MIMIC's."""
    bundle = {"pretraining_data": "chexpert", "trained_on": hash_patients(["chexpert:7"])}
    prepare(tmp_path, "chexpert", "chexpert", {"x": "7"})
    prepare(tmp_path, "chexpert_5x200_prior", "chexpert", {"y": "7", "z": "8"})
    (text,) = contaminations(
        [predict(tmp_path, "chexpert_5x200_prior", ["y", "z"], bundle)], tmp_path / "data" / "prepared", {}
    ).values()
    assert text == "labels: 1 of 2 test patients in pre-training"


def test_the_default_experiment_saw_no_test_patient(tmp_path: Path) -> None:
    bundle = {"pretraining_data": "mimic_cxr", "trained_on": hash_patients(["mimic:1"])}
    families = {
        "mimic_cxr": "mimic",
        "chexpert": "chexpert",
        "rsna": "nih",
        "siim": "nih",
        "object_cxr": None,
    }
    for dataset, family in families.items():
        prepare(tmp_path, dataset, family, {"a": "1", "b": "2"})
    paths = [predict(tmp_path, dataset, ["b"], bundle) for dataset in families]
    assert set(contaminations(paths, tmp_path / "data" / "prepared", {}).values()) == {"none"}


def test_predictions_of_other_records_are_refused(tmp_path: Path) -> None:
    prepare(tmp_path, "nih_small", "nih", {"a": "1"})
    path = predict(tmp_path, "nih_small", ["a", "b"], SEEN)
    with pytest.raises(InputError, match="1 images are not among the records of nih_small"):
        contaminations([path], tmp_path / "data" / "prepared", {})


def test_cells_are_read_back() -> None:
    grey = '<span class="published" style="color: #767676">0.75 P</span>'
    cell = read_cell(cell_text("0.8 [0.7, 0.9]", BEST, "‡", grey))
    assert (cell.value, cell.mark, cell.sign) == ("0.8 [0.7, 0.9]", BEST, "‡")
    assert (cell.lines, cell.published) == ((), "0.75 P")
    cell = read_cell(cell_text("0.8", NOT_WORSE, "§"))
    assert (cell.value, cell.mark, cell.sign) == ("0.8", NOT_WORSE, "§")
    assert read_cell("0.6<br>Δ 0.1").lines == ("Δ 0.1",)
    text = latex_table(pd.DataFrame({"method": ["a"], "x": [cell_text("0.8", BEST, "‡", grey)]}), "c")
    assert r"\textbf{0.8}$^\ddagger$ \textcolor{gray}{0.75 P}" in text


def test_from_predictions_to_tables_and_page(tmp_path: Path) -> None:
    """SIIM's patients are known to be NIH's here, and the pairs of `prior` are one of them."""
    stems = [
        write_predictions(tmp_path, "segmentation", method, (0.1,), (0, 1))
        for method in ("random", "convirt", "prior")
    ]
    for stem in stems:
        info = read_json(Path(f"{stem}.json"))
        info["bundle"]["trained_on"] = hash_patients(["nih:3" if "prior" in stem.name else "nih:x"])
        write_json(Path(f"{stem}.json"), info)
    frame = pd.read_parquet(f"{stems[0]}.parquet").drop_duplicates("image_id")
    owners = dict(zip(frame["image_id"], frame["patient_id"].str.removeprefix("siim:"), strict=True))
    prepare(tmp_path, "siim", "nih", owners)
    prepare(tmp_path, "mimic_cxr", "mimic", {})
    files = []
    for stem in stems:
        score(stem, tmp_path / "scores" / stem.relative_to(tmp_path / "predictions"), n_resamples=50)
        files.append(tmp_path / "scores" / f"{stem.relative_to(tmp_path / 'predictions')}.parquet")
    results, jsons = tmp_path / "results", [Path(f"{stem}.json") for stem in stems]
    collect(files, jsons, results, "tiny", prepared=tmp_path / "data" / "prepared")
    rows = read_rows(results / "results.csv")
    seen = f"patients: 1 of {len(set(owners.values()))} test patients in pre-training"
    assert set(rows.loc[rows["method"] == "prior", "contamination"]) == {seen}
    assert set(rows.loc[rows["method"] != "prior", "contamination"]) == {"none"}
    tables(results, ["segmentation"])
    text = (results / "tables" / "segmentation.md").read_text()
    assert text.count(" ‡ ") == text.count("\n| prior")
    assert "§" not in text
    assert contamination_notes([seen])[0] in text
    assert "‡" not in (results / "tables" / "headline.csv").read_text()
    page(results)
    shown = (results / "index.html").read_text()
    assert shown.count("<sup>‡</sup>") > 5
    data = json.loads(shown.split('id="leaderboard-data">')[1].split("</script>")[0])
    assert data["signs"] == {seen: "‡"}
    texts, place = data["texts"], list(data["texts"]).index("contamination")
    for row in data["rows"]:
        marked = texts["contamination"][row[0][place]]
        assert marked == (seen if texts["method"][row[0][0]] == "prior" else "none")
