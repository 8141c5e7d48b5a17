"""Report generation from predictions to the page: rows, headline, and no report text in the results."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from prior.data.files import read_json, write_json
from prior.metrics.rows import read_rows
from prior.metrics.score import score
from prior.results.collect import collect
from prior.results.page import page
from prior.results.plots import plots
from prior.results.tables import tables

SENTENCES = ["small effusion .", "no effusion .", "mild edema .", "normal heart .", "quaint opacity ."]


def generation(strength: float, seed: int, n: int = 30) -> pd.DataFrame:
    world, own = np.random.default_rng(6), np.random.default_rng(seed)
    images = synthetic._images(world, "mimic_cxr", n)
    reference = [" ".join(world.choice(SENTENCES, 2)) for _ in range(n)]
    guess = [" ".join(own.choice(SENTENCES, 2)) for _ in range(n)]
    right = world.random(n) < 0.5 * strength
    generated = [a if hit else b for a, b, hit in zip(reference, guess, right, strict=True)]
    texts = {"generated": generated, "reference": reference, "frequent": SENTENCES[1]}
    return images.assign(study_id=images["image_id"], **texts)


def test_from_predictions_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(synthetic.TASKS, "report_generation", ("mimic_cxr", "frozen", generation))
    scores, stems = [], []
    for setting, head in (("frozen", "transformer"), ("nearest", "nearest_report")):
        stem = synthetic.write_predictions(
            tmp_path, "report_generation", "prior", (0.1, 1.0), (0,), setting=setting
        )
        write_json(Path(f"{stem}.json"), {**read_json(Path(f"{stem}.json")), "head": head})
        out = tmp_path / "scores" / stem.relative_to(tmp_path / "predictions")
        score(stem, out, n_resamples=50)
        stems.append(Path(f"{stem}.json"))
        scores.append(Path(f"{out}.parquet"))
    results = tmp_path / "results"
    collect(scores, stems, results)
    rows = read_rows(results / "results.csv")
    assert set(rows["method"]) == {"prior", "frequent_report"}
    assert set(rows["head"]) == {"transformer", "nearest_report"}
    means = rows[rows["seed"].isna() & (rows["metric"] == "clinical_f1_micro") & (rows["fraction"] == 0.1)]
    assert (means["ci_low"] < means["value"]).all()
    assert (means["ci_high"] > means["value"]).all()
    found = json.loads((results / "metrics.json").read_text())["report_generation"]["mimic_cxr"]
    assert list(found) == ["strict_small-frozen"]
    assert list(found["strict_small-frozen"]) == ["clinical_f1_micro@10%"]
    tables(results, ["report_generation"])
    assert "Clinical F1 by rule labeller, micro" in (results / "tables/report_generation.md").read_text()
    plots(results, [], ["report_generation"])
    page(results)
    assert "Report generation" in (results / "index.html").read_text()
    kept = [path for path in results.rglob("*") if path.suffix in (".csv", ".md", ".json", ".html", ".svg")]
    assert not [path for path in kept if "quaint" in path.read_text()]
