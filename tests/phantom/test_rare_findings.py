from collections import Counter

import numpy as np
import pytest

from prior.phantom import findings
from prior.phantom.findings import COMMON, KINDS, RARE, SINGLES, Finding
from prior.phantom.hospital import plan
from prior.phantom.report import StudyFacts, compose
from prior.phantom.writers.chexpert import _labels
from prior.phantom.writers.common import CHEXPERT_LABELS, spaced

COUNT = 3000


@pytest.mark.parametrize("hospital", ["mimic_cxr", "chexpert"])
def test_every_rare_kind_is_seen_now_and_then(hospital: str) -> None:
    counts = Counter(f.kind for study in plan(hospital, COUNT, 0) for f in study.findings)
    for kind in RARE:
        assert 0.02 < counts[kind] / COUNT < 0.11, kind


def test_hospitals_without_their_labels_show_none() -> None:
    for hospital in ("rsna", "siim", "object_cxr"):
        assert not {f.kind for study in plan(hospital, 500, 0) for f in study.findings} - set(COMMON)


def test_common_findings_are_drawn_as_without_the_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    with_rare = [[f for f in s.findings if f.kind in COMMON] for s in plan("mimic_cxr", 300, 0)]
    poses = [s.pose for s in plan("mimic_cxr", 300, 0)]
    monkeypatch.setattr(findings, "RARE_SHARE", {})
    studies = list(plan("mimic_cxr", 300, 0))
    assert [s.findings for s in studies] == with_rare
    assert [s.pose for s in studies] == poses


def test_single_findings_of_chexpert_stay_single() -> None:
    for study in plan("chexpert", 800, 0):
        common = {f.kind for f in study.findings if f.kind in COMMON}
        if len(common) == 1 and common <= set(SINGLES):
            assert {f.kind for f in study.findings} == common


def test_chexpert_labels_them_and_no_finding_excludes_them() -> None:
    for study in plan("chexpert", 800, 0):
        row, kinds = _labels(study, False, 0), {f.kind for f in study.findings}
        for kind in set(RARE) & kinds:
            assert row[kind.replace("_", " ")] == 1.0
        if row["No Finding"] == 1.0:
            assert kinds <= {"Support_Devices"}


def test_chronic_ones_stay_with_the_patient() -> None:
    kept = gone = 0
    last: dict[int, set[str]] = {}
    for study in plan("mimic_cxr", COUNT, 0):
        now = {f.kind for f in study.findings} & {"Enlarged_Cardiomediastinum", "Pleural_Other"}
        before = last.get(study.patient, set()) if study.order else set()
        kept, gone = kept + len(before & now), gone + len(before - now)
        last[study.patient] = now
    assert kept / (kept + gone) > 0.9


@pytest.mark.parametrize("kind", RARE)
def test_reports_say_them_and_deny_nothing_of_them(kind: str) -> None:
    side = "" if kind == "Enlarged_Cardiomediastinum" else "left"
    shown = Finding(kind, side, "upper", 0.8, "", "plaque", 3)
    values: Counter[int] = Counter()
    for seed in range(120):
        report = compose(StudyFacts([shown], [], 0, "F", 60), np.random.default_rng(seed))
        if kind in {f.kind for f in report.mentioned}:
            codes = [code.split("|") for s in report.sentences for code in s.meaning]
            values.update(int(code[1]) for code in codes if code[0] == kind)
    assert values[0] == 0
    assert values[1] > 80
    assert 0 < values[-1] < 25


def test_absence_is_stated_too() -> None:
    denied: Counter[str] = Counter()
    for seed in range(800):
        report = compose(StudyFacts([], [], 0, "F", 60), np.random.default_rng(seed))
        denied.update(k for k, v in report.labels.items() if v == 0)
    assert all(denied[kind] > 0 for kind in RARE)


def test_kinds_are_the_labels_of_chexpert() -> None:
    assert {spaced(kind) for kind in KINDS} | {"No Finding"} == set(CHEXPERT_LABELS)
