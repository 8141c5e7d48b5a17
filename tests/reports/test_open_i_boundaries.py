"""Sentences of 100 real reports, marked by hand; docs/sentences.md says how."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from prior.datasets.open_i import read_open_i
from prior.reports.boundaries import sentence_spans

MARKED = json.loads(Path(__file__).with_name("open_i_boundaries.json").read_text())


def test_the_marks_are_offsets_in_order_and_no_text():
    assert len(MARKED) == 100
    for body in MARKED.values():
        assert list(body) == ["findings", "impression"]
        for spans in body.values():
            edges = [edge for span in spans for edge in span]
            assert edges
            assert all(type(edge) is int for edge in edges)
            assert all(left < right for left, right in pairwise(edges))


@pytest.mark.skipif("PRIOR_REAL" not in os.environ, reason="PRIOR_REAL names no folder of real data")
def test_the_splitter_finds_the_marked_sentences_of_the_drawn_reports():
    reports = read_open_i(Path(os.environ["PRIOR_REAL"]))
    drawn = np.sort(np.random.default_rng(0).choice(len(reports), 100, replace=False))
    assert reports["uid"].iloc[drawn].tolist() == list(MARKED)
    by_id = reports.set_index("uid")
    for uid, body in MARKED.items():
        for section, spans in body.items():
            assert sentence_spans(by_id.loc[uid, section]) == [tuple(span) for span in spans], uid
