from prior.phantom.hospital import generator, plan
from prior.phantom.report import StudyFacts, compose
from prior.reports.sentences import split_report


def test_true_boundaries_of_500_simulated_reports_are_found():
    hits = found = true = 0
    for study in plan("mimic_cxr", 500, seed=11):
        facts = StudyFacts(study.findings, study.before, study.order, study.body.sex, study.body.age)
        report = compose(facts, generator(11, "mimic_cxr", 2, study.index))
        ours = {edge for s in split_report(report.text) for edge in (("start", s.start), ("end", s.end))}
        theirs = {edge for s in report.sentences for edge in (("start", s.start), ("end", s.end))}
        hits, found, true = hits + len(ours & theirs), found + len(ours), true + len(theirs)
    assert 2 * hits / (found + true) >= 0.99
