import numpy as np
import pandas as pd

from prior.datasets.open_i import report_findings
from prior.datasets.pairing import jaccard, match, report_pools


def test_reports_with_the_same_text_share_a_pool():
    texts = pd.Series([f"FINDINGS: number {k % 40}" for k in range(80)])
    pools = report_pools(texts.where(texts.index % 2 == 0, texts.str.upper()))
    assert (pools[:40].to_numpy() == pools[40:].to_numpy()).all()
    assert set(pools) == {"train", "validation", "test"}


def test_jaccard_against_sets():
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 6)) < 0.4, rng.random((7, 6)) < 0.4
    for i, row in enumerate(jaccard(a, b)):
        for j, value in enumerate(row):
            one, two = set(np.flatnonzero(a[i])), set(np.flatnonzero(b[j]))
            assert value == (len(one & two) / len(one | two) if one | two else 0)


def test_matching_prefers_the_most_similar_then_the_least_used():
    similarity = np.array([[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [0.0, 0.0, 0.0]])
    pairs = match(pd.Series(["a", "b", "c"]), similarity, pd.Series(["r0", "r1", "r2"]))
    assert sorted(pairs["image_id"]) == ["a", "b"]
    assert set(pairs["uid"]) == {"r0", "r1"}


def test_open_i_tags_become_findings():
    found = report_findings(["Thickening/pleura/apex".lower(), "airspace disease/lung"], ["pneumonia"])
    assert {name for name, present in found.items() if present} == {
        "Pleural_Thickening",
        "Infiltration",
        "Pneumonia",
    }
    assert report_findings(["normal"], [])["No_Finding"]
    assert not report_findings(["normal", "scoliosis"], [])["No_Finding"]
