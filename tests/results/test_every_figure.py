"""What holds of every figure: equal bytes for equal inputs, and letters that can be read in a column."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import FINDINGS, SIZE, write_pixels, write_predictions, write_training_log

from prior.data.files import write_json
from prior.results.cards import data_cards
from prior.results.embeddings import embedding_figure
from prior.results.examples import DRAW, examples
from prior.results.plots import plots
from prior.results.retrieved import finding_lines, retrieval_examples, study_findings
from prior.results.roc import roc_figures
from prior.results.style import WIDTH

SMALLEST = 6
"""Points."""
LONG = "place (reconstructed)"
MANIFEST = {
    "dataset": "mimic_cxr",
    "simulated": True,
    "counts": {
        "images": 9, "patients": 8, "reports": 7, "boxes": 0, "images_with_masks": 0,
        "findings": {
            name: {"present": 3, "absent": 4, "uncertain": 1, "missing": 1}
            for name in (*FINDINGS, "Enlarged_Cardiomediastinum")
        },
    },
    "splits": {
        preset: {
            part: {"images": images, "positives": dict.fromkeys((*FINDINGS, "Enlarged_Cardiomediastinum"), 1)}
            for part, images in (("train", 5), ("validation", 2), ("test", 2))
        }
        for preset in ("official", "random-60-20-20-leaky")
    },
    "leaks": {"official": {"patients": {"train-test": 1}}, "random-60-20-20-leaky": {}},
    "exposed": {},
    "sources": {},
}  # fmt: skip
STUDIES = [f"s{number}" for number in range(6)]


def write_prepared(prepared: Path) -> None:
    """Studies with findings and sentences, and a data set's manifest."""
    folder = prepared / "mimic_cxr"
    folder.mkdir(parents=True)
    images = [f"i{number}" for number in range(len(STUDIES))]
    pd.DataFrame({"image_id": images, "study_id": STUDIES}).to_parquet(folder / "images.parquet")
    present = np.arange(len(STUDIES))[:, None] % np.arange(2, 2 + len(FINDINGS)) == 1
    labels = pd.DataFrame(present.astype(float), columns=FINDINGS).assign(image_id=images)
    labels.to_parquet(folder / "labels.parquet")
    sentences = pd.DataFrame({"study_id": STUDIES, "position": 0, "sentence": "A rather long sentence. " * 6})
    sentences.to_parquet(folder / "sentences.parquet")
    write_json(folder / "manifest.json", MANIFEST)
    write_json(prepared.with_name("leaks.json"), {"pretraining": [], "evaluations": []})


def write_archives(root: Path) -> list[Path]:
    """What evaluations leave for pictures, of two methods and all tasks that have pictures."""
    generator = np.random.default_rng(0)
    masks = np.zeros((3, SIZE, SIZE), bool)
    masks[:, 20:60, 30:50] = True
    images = generator.integers(0, 255, masks.shape, dtype=np.uint8)
    archives = {
        "segmentation": {"images": images, "truth": masks, "predicted": np.roll(masks, 9, axis=2)},
        "grounding": {"images": images, "truth": masks, "heat": masks.astype(np.float16)},
        "retrieval": {
            "images": images,
            "study_id": np.array(STUDIES[:3]),
            "top": np.stack([generator.permutation(STUDIES)[:5] for _ in range(3)]),
        },
        "prototypes": {
            "prototype": np.array([2, 0, 1]),
            "frequency": np.array([0.75, 0.25, 0.0]),
            "entropy": np.array([0.5, 1.0, np.nan]),
            "study_id": np.array([["s0", "s1"], ["s1", ""], ["", ""]]),
            "position": np.array([[0, 0], [0, -1], [-1, -1]]),
        },
    }
    stems = [write_predictions(root, "detection", method, (0.1,), (0,)) for method in ("random", "prior")]
    names = pd.read_parquet(f"{stems[0]}.parquet")["image_id"].unique()
    write_pixels(root / "prepared" / "rsna", names)
    for task, arrays in archives.items():
        folder = root / "predictions" / task / "mimic_cxr" / "strict_small-any"
        folder.mkdir(parents=True)
        for bundle in ("prior-described-s0", "place-reconstructed-s0"):
            np.savez(folder / f"{bundle}.examples.npz", **arrays)
            stems.append(folder / bundle)
    return stems


@pytest.fixture(scope="module")
def drawn(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders: every figure, drawn twice."""
    root = tmp_path_factory.mktemp("drawn")
    write_prepared(root / "prepared")
    stems = write_archives(root)
    classified = [write_predictions(root, "classification", "prior", (0.1,), (0,))]
    log = write_training_log(root, "prior", ["global_itc", "local_text"])
    generator = np.random.default_rng(1)
    maps = {method: generator.normal(size=(40, 2)) for method in ("random", LONG)}
    truth = pd.DataFrame(generator.random((40, len(FINDINGS))) < 0.3, columns=FINDINGS)
    folders = []
    for name in ("first", "second"):
        results = root / name
        shutil.copytree(shown, results)
        out = results / "plots"
        plots(results, [log])
        examples(stems, root / "prepared", True, out)
        examples([root / "predictions/retrieval/none/strict-any/prior-described-s0"], root, True, out)
        roc_figures(classified, True, out)
        data_cards(root / "prepared", ["mimic_cxr"], out)
        embedding_figure(maps, truth, "Test images as each encoder sees them", True, out / "embeddings_x")
        folders.append(out)
    return folders[0], folders[1]


def test_every_kind_of_figure_is_drawn(drawn: tuple[Path, Path]) -> None:
    names = {path.stem for path in drawn[0].glob("*.svg")}
    assert {"headline", "gains", "forest", "gain_map", "ranks", "seeds"} <= names
    assert {f"examples_{task}" for task in DRAW} <= {"_".join(name.split("_")[:2]) for name in names}
    kinds = {name.split("_")[0] for name in names}
    assert {"task", "pretraining", "roc", "data", "embeddings", "examples"} <= kinds
    assert names == {path.stem for path in drawn[0].glob("*.png")}


def test_equal_inputs_give_equal_bytes(drawn: tuple[Path, Path]) -> None:
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in drawn)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_letters_are_readable_at_the_width_of_a_column(drawn: tuple[Path, Path]) -> None:
    """SVG keeps text as text: printed 3.4 inches wide, no letter of a figure is smaller than 6 points."""
    for path in drawn[0].glob("*.svg"):
        text = path.read_text()
        width = float(re.search(r'<svg [^>]*width="([\d.]+)pt"', text)[1])  # type: ignore[index]
        sizes = [float(size) for size in re.findall(r"font(?:-size)?:[^;\"]*?([\d.]+)px", text)]
        assert min(sizes) * 72 * WIDTH / width >= SMALLEST - 1e-6, path.name
        assert "SIMULATED DATA" in text, path.name


def test_what_reports_have_is_drawn_and_not_who_they_are_of(drawn: tuple[Path, Path]) -> None:
    text = (drawn[0] / "examples_retrieval_mimic_cxr_strict_small-any.svg").read_text()
    assert all(name.replace("_", " ") in text for name in FINDINGS[:3])
    assert LONG in text
    assert not any(f">{study}<" in text for study in STUDIES)


def test_findings_of_the_query_come_first_then_the_most_frequent(tmp_path: Path) -> None:
    assert finding_lines(["b"], [["a", "b"], ["c"], ["c", "b"]]) == ["b", "c", "a"]
    write_prepared(tmp_path / "prepared")
    found = study_findings(tmp_path / "prepared" / "mimic_cxr")
    assert found["s0"] == []
    assert found["s1"] == ["Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion"]
    assert found["s3"] == ["Cardiomegaly"]
    top = np.array([["s0", "s0", "s0", "s0", "s0"]])
    np.savez(tmp_path / "a.npz", images=np.zeros((1, 8, 8), np.uint8), study_id=np.array(["s0"]), top=top)
    out = tmp_path / "nothing"
    retrieval_examples({"prior": tmp_path / "a.npz"}, tmp_path / "prepared" / "mimic_cxr", True, out)
    assert ">none<" in out.with_suffix(".svg").read_text()
