import pytest

from prior.phantom.findings import KINDS
from prior.phantom.hospital import generator, plan
from prior.phantom.report import StudyFacts, compose
from prior.reports.labeller import FINDINGS, NO_FINDING, label_report, positive_matrix
from prior.reports.plain import plain_text

EC, PO, LO = "Enlarged_Cardiomediastinum", "Pleural_Other", "Lung_Opacity"
C, E, PX, P, A = "Consolidation", "Pleural_Effusion", "Pneumothorax", "Pneumonia", "Atelectasis"


def said(text: str, *findings: str) -> dict[str, int]:
    labels = label_report(text)
    return {finding: labels[finding] for finding in (findings or labels) if finding in labels}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Small left pleural effusion.", {E: 1}),
        ("No pleural effusion.", {E: 0}),
        ("There is no evidence of pneumothorax.", {PX: 0}),
        ("Pneumothorax is not seen.", {PX: 0}),
        ("The right pneumothorax has resolved.", {PX: 0}),
        ("Negative for pneumothorax or effusion.", {PX: 0, E: 0}),
        ("This does not appear to be a pneumothorax.", {PX: 0}),
        ("Neither effusion nor pneumothorax is seen.", {E: 0, PX: 0}),
        ("The heart is not enlarged.", {"Cardiomegaly": 0}),
        ("The heart is moderately enlarged.", {"Cardiomegaly": 1}),
        ("Heart size is normal.", {"Cardiomegaly": 0}),
        ("The lungs are free of consolidation.", {C: 0}),
        ("The bones are intact.", {"Fracture": 0}),
        ("Costophrenic angles are sharp.", {E: 0}),
    ],
)
def test_assertion_and_negation(text: str, wanted: dict[str, int]) -> None:
    assert said(text, *wanted) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Possible right lower lobe pneumonia.", {P: -1}),
        ("Patchy opacity may represent pneumonia or atelectasis.", {"Lung_Opacity": 1, P: -1, A: -1}),
        ("Early pneumonia cannot be excluded.", {P: -1}),
        ("A small effusion is not excluded.", {E: -1}),
        ("Cannot exclude a small pneumothorax.", {PX: -1}),
        ("Atelectasis versus pneumonia at the left base.", {A: -1, P: -1}),
        ("Atelectasis vs. pneumonia at the left base.", {A: -1, P: -1}),
        ("Heart size is at the upper limits of normal, possibly enlarged.", {"Cardiomegaly": -1}),
    ],
)
def test_uncertainty(text: str, wanted: dict[str, int]) -> None:
    assert said(text, *wanted) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("No change in effusion.", {E: 1}),
        ("No significant interval change in the left effusion.", {E: 1}),
        ("The effusion is not significantly changed.", {E: 1}),
        ("The pneumothorax has not resolved.", {PX: 1}),
        ("The right lung is not without consolidation.", {C: 1}),
        ("The effusion is not absent.", {E: 1}),
        ("Lucency without lung markings is a large pneumothorax.", {PX: 1}),
    ],
)
def test_what_looks_like_negation_and_is_none(text: str, wanted: dict[str, int]) -> None:
    assert said(text, *wanted) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("No focal consolidation, pleural effusion, or pneumothorax.", {C: 0, E: 0, PX: 0}),
        ("no focal consolidation pleural effusion or pneumothorax .", {C: 0, E: 0, PX: 0}),
        ("No consolidation, or large effusion.", {C: 0, E: 0}),
        ("No pneumothorax, but a small effusion.", {PX: 0, E: 1}),
        ("No pneumothorax small left effusion", {PX: 0, E: 1}),
        ("No pneumothorax is seen, the heart is enlarged.", {PX: 0, "Cardiomegaly": 1}),
        ("There is no pneumothorax. There is a pleural effusion.", {PX: 0, E: 1}),
        ("Mild edema without effusion or pneumothorax.", {"Edema": 1, E: 0, PX: 0}),
        ("No pneumothorax, possible small effusion.", {PX: 0, E: -1}),
    ],
)
def test_scopes_and_enumerations(text: str, wanted: dict[str, int]) -> None:
    assert said(text, *wanted) == wanted


@pytest.mark.parametrize(
    ("finding", "wanted", "text"),
    [
        (EC, 1, "The mediastinum is widened."),
        (EC, 1, "Mediastinal widening is noted."),
        (EC, 1, "Widening of the superior mediastinum."),
        (EC, 1, "The superior mediastinum is mildly widened."),
        (EC, 1, "The mediastinal contour is widened."),
        (EC, 1, "The mediastinum appears widened."),
        (EC, 1, "Prominence of the mediastinum."),
        (EC, 1, "Mediastinal prominence."),
        (EC, 1, "Enlarged mediastinal silhouette."),
        (EC, 1, "The mediastinum is prominent."),
        (EC, 1, "The upper mediastinum is broad."),
        (EC, 1, "The mediastinal shadow is wide."),
        (EC, 1, "Enlarged cardiomediastinal silhouette."),
        (EC, 1, "The cardiomediastinal silhouette is enlarged."),
        (EC, 1, "Abnormal widening of the mediastinal contour."),
        (EC, 1, "Fullness of the superior mediastinum."),
        (EC, 1, "Increased width of the mediastinum."),
        (EC, 0, "The mediastinum is not widened."),
        (EC, 0, "No mediastinal widening."),
        (EC, 0, "There is no widening of the mediastinum."),
        (EC, 0, "The mediastinal contours are normal."),
        (EC, 0, "Mediastinum is unremarkable."),
        (EC, 0, "The mediastinum is of normal width."),
        (EC, 0, "Cardiomediastinal silhouette is within normal limits."),
        (EC, 0, "Normal cardiomediastinal silhouette."),
        (EC, -1, "Possible mediastinal widening."),
        (EC, -1, "The mediastinum may be widened."),
        (EC, -1, "Mediastinal widening cannot be excluded."),
        (EC, -1, "The mediastinum is borderline wide."),
        (EC, -1, "Questionable widening of the superior mediastinum."),
        (PO, 1, "Left apical pleural thickening."),
        (PO, 1, "Calcified pleural plaques."),
        (PO, 1, "Pleural calcification is seen."),
        (PO, 1, "Biapical scarring and pleural thickening."),
        (PO, 1, "The pleura is thickened."),
        (PO, 1, "Thickening of the right pleura."),
        (PO, 1, "Thickened pleura at the left base."),
        (PO, 1, "Apical capping."),
        (PO, 1, "Right apical cap."),
        (PO, 1, "Apical pleuroparenchymal scarring."),
        (PO, 1, "Blunting from pleural scarring."),
        (PO, 1, "Plaques along the pleura."),
        (PO, 1, "Pleural based scar."),
        (PO, 1, "Pleural fibrosis."),
        (PO, 1, "Thickening of the minor fissure."),
        (PO, 1, "Plaque along the diaphragm."),
        (PO, 1, "Pleural and parenchymal scarring."),
        (PO, 1, "Mild fissural thickening."),
        (PO, 0, "There is no pleural plaque."),
        (PO, 0, "No pleural thickening or effusion."),
        (PO, 0, "The pleura is not thickened."),
        (PO, 0, "The pleural surfaces are unremarkable."),
        (PO, 0, "No pleural abnormality."),
        (PO, -1, "Probable pleural thickening."),
        (PO, -1, "Effusion versus pleural thickening."),
        (PO, -1, "This may represent pleural thickening."),
        (PO, -1, "Pleural plaques cannot be excluded."),
        (LO, 1, "Hazy opacity at the left base."),
        (LO, 1, "There is an ill-defined density in the right lung."),
        (LO, 1, "Increased density in the left lower zone."),
        (LO, 1, "Patchy shadowing."),
        (LO, 1, "Ground-glass change on the right."),
        (LO, 1, "Opacification of the left hemithorax."),
        (LO, 1, "The left base is opacified."),
        (LO, 1, "Airspace disease on the right."),
        (LO, 1, "Vague haziness in the right mid zone."),
        (LO, 1, "Interstitial markings are increased."),
        (LO, 1, "Reticular opacities."),
        (LO, 1, "Nonspecific opacity, unchanged."),
        (LO, 1, "A faint shadow projects over the left upper zone."),
        (LO, 1, "Focal density in the right mid lung."),
        (LO, 1, "Pulmonary infiltrate."),
        (LO, 0, "No focal opacity."),
        (LO, 0, "No airspace opacification."),
        (LO, 0, "The lungs are clear."),
        (LO, 0, "No focal airspace disease."),
        (LO, 0, "No infiltrate."),
        (LO, 0, "No abnormal density."),
        (LO, -1, "Possible opacity at the right base."),
        (LO, -1, "Questionable density in the left lung."),
        (LO, -1, "A subtle opacity cannot be excluded."),
        ("Cardiomegaly", None, "The mediastinum is widened."),
        ("Cardiomegaly", 0, "Cardiomediastinal silhouette is within normal limits."),
        (EC, None, "The heart is enlarged."),
        (LO, None, "The bones show increased density."),
        ("Pleural_Effusion", None, "Pleural thickening."),
        (LO, None, "Bone density is decreased."),
        (LO, None, "Radiopaque foreign body of metallic density."),
    ],
)
def test_mediastinum_pleura_and_opacities(finding: str, wanted: int | None, text: str) -> None:
    assert label_report(text).get(finding) == wanted
    assert label_report(plain_text(text)).get(finding) == wanted


def test_assertion_beats_doubt_beats_denial_in_a_report() -> None:
    assert said("No effusion. Possible effusion.", E) == {E: -1}
    assert said("Possible effusion. No effusion. Effusion.", E) == {E: 1}


def test_plans_history_and_look_alikes_are_no_findings() -> None:
    assert said("Evaluate for pneumonia.") == {NO_FINDING: 1}
    assert said("History of pneumothorax.", PX) == {}
    assert said("Pericardial effusion.", E) == {}
    assert said("No mass effect.", "Lung_Lesion") == {}
    assert said("Nipple shadow simulates a nodule.", "Lung_Lesion") == {"Lung_Lesion": 0}


def test_no_finding_needs_words_and_ignores_devices() -> None:
    assert label_report("") == {}
    assert label_report(" . ") == {}
    assert label_report("1. 2.") == {}
    assert said("No acute process.") == {NO_FINDING: 1}
    assert said("Endotracheal tube in place. Lungs are clear.", NO_FINDING, "Support_Devices") == {
        NO_FINDING: 1,
        "Support_Devices": 1,
    }
    assert NO_FINDING not in label_report("Possible pneumonia.")


def test_raw_text_and_plain_words_are_labelled_alike() -> None:
    raw = "1. Small left-sided effusion, unchanged.\n 2. No pneumonia/pneumothorax;\n heart size\n is normal."
    assert label_report(plain_text(raw)) == label_report(raw)
    assert said(raw) == {E: 1, P: 0, PX: 0, "Cardiomegaly": 0}


def test_matrix_counts_doubt_as_stated() -> None:
    found = positive_matrix(["Possible edema.", "No edema.", ""])
    assert found.shape == (3, len(FINDINGS))
    assert [[FINDINGS[j] for j in row.nonzero()[0]] for row in found] == [["Edema"], [NO_FINDING], []]
    assert positive_matrix([]).shape == (0, len(FINDINGS))


def test_what_the_phantom_states_is_found() -> None:
    found: list[set[str]] = []
    true: list[set[str]] = []
    for study in plan("mimic_cxr", 300, seed=3):
        facts = StudyFacts(study.findings, study.before, study.order, study.body.sex, study.body.age)
        for sentence in compose(facts, generator(3, "mimic_cxr", 2, study.index)).sentences:
            if sentence.meaning:
                codes = [code.split("|") for code in sentence.meaning]
                true.append({code[0] for code in codes if code[1] != "0"})
                labels = label_report(sentence.text)
                found.append({f for f, value in labels.items() if f in KINDS and value != 0})
    for kind in KINDS:
        hits = sum(kind in a and kind in b for a, b in zip(found, true, strict=True))
        assert 2 * hits / sum(kind in a for a in [*found, *true]) > 0.95, kind
