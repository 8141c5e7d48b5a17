import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prior.data.schemas import read_table, write_table
from prior.errors import InputError
from prior.reports import sentences
from prior.reports.sentences import split_report, split_sentences, split_sentences_stage


def pieces(text):
    return [" ".join(text[start:end].split()) for start, end in split_sentences(text)]


# `|` marks the true boundaries, `#...#` what belongs to no sentence.
@pytest.mark.parametrize(
    "marked",
    [
        "The lungs are clear.| No effusion.",
        "A nodule measures 3.5 x 1.2 cm.| 2.5 cm above the carina.",
        "Discussed with Dr. ___ by phone.| No change.",
        "Discussed with Drs. ___ and ___ at 3:45 p.m. on ___.| No change.",
        "Seen at 10 a.m. by ___, M.D. in clinic.| Stable.",
        "Called at 5:16 P.M.| The lungs are clear.",
        "Compared to ___.| ___ opacity is new.",
        "Dated XXXX.| XXXX opacity is new.",
        "Edema vs. pneumonia, e.g. aspiration.| Lead ends approx. 3 cm too deep.",
        "The 3rd rib. |No. 7 is intact.".replace(" |", "| "),
        "Effusion: no.| Heart is normal.",
        "Increased opacity ? pneumonia.| Is there fever?| None.",
        "Right effusion.|Left is clear.",
        "Stable (see below).| (Old study.)| Clear.",
        "Bilateral opacities\n that wrap over lines.|  Next one.",
        "Compression of T\n 12.| No other fracture.",
        "#1. #No acute disease.| #2. #Mild edema.| Stable.| #3. #6 mm nodule.",
        "#1.#Severe edema.| #2.#Clear.",
        "#1. #No acute disease|\n #2. #Mild edema|\n #3. #Nodule",
        "#(1) #Edema.| #(2) #Nodule.",
        "#1. #Low lung volumes| #2. #No pneumothorax",
        "#1) #Clear lungs.| #2) #No effusion| #3) #Tube in place.",
        "Approx. 3 cm.| No sig. change.| Edema in the rt. lung.",
        "Fracture of rib 2.| No pneumothorax.",
        "#- #No effusion|\n#- #Mild edema",
        "LUNGS:  Clear|\n HEART:  Normal",
        "No final stop|\n\n New paragraph",
        "Lungs clear..| Heart normal.",
        "Lungs clear. heart".replace(". h", ".| h"),
        "NO ACUTE DISEASE.| LUNGS CLEAR.",
    ],
)
def test_known_boundaries(marked):
    expected = [" ".join(re.sub("#.*?#", "", part).split()) for part in marked.split("|")]
    assert pieces(marked.replace("|", "").replace("#", "")) == expected


def test_punctuation_without_words_is_no_sentence():
    assert pieces("No acute findings. .") == ["No acute findings."]


@given(st.text(alphabet="Ab1. \n_?!:;)(XLc\r\t-é", max_size=80))
def test_spans_are_ordered_trimmed_and_keep_every_word(text):
    spans = split_sentences(text)
    assert all(start < end for start, end in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    assert all(text[start:end] == text[start:end].strip() for start, end in spans)
    kept = "".join(text[start:end] for start, end in spans)
    assert [c for c in kept if c in "Ab_XLc"] == [c for c in text if c in "Ab_XLc"]


def test_offsets_refer_to_the_report():
    report = (
        " INDICATION: Dr. ___ asks.\n\n FINDINGS:  Lungs are\n clear.  No edema.\n\n IMPRESSION:  1. Normal."
    )
    found = split_report(report)
    assert [(s.section, s.text) for s in found] == [
        ("findings", "Lungs are clear."),
        ("findings", "No edema."),
        ("impression", "Normal."),
    ]
    assert all(" ".join(report[s.start : s.end].split()) == s.text for s in found)


def test_the_stage_writes_a_valid_table_twice_the_same(tmp_path):
    text = ["FINDINGS: Lungs clear. No edema.\n\nIMPRESSION: Normal.", "IMPRESSION: Edema."]
    reports = pd.DataFrame({"study_id": ["s1", "s2"], "patient_id": ["p1", "p2"], "text": text})
    write_table(tmp_path, "reports", reports.assign(findings=None, impression=None))
    split_sentences_stage(tmp_path)
    first = (tmp_path / "sentences.parquet").read_bytes()
    split_sentences_stage(tmp_path)
    assert (tmp_path / "sentences.parquet").read_bytes() == first
    table = read_table(tmp_path, "sentences")
    assert table["sentence"].tolist() == ["Lungs clear.", "No edema.", "Normal.", "Edema."]
    assert table["position"].tolist() == [0, 1, 2, 0]


def test_processes_change_no_byte(tmp_path, monkeypatch):
    monkeypatch.setattr("prior.reports.sentences._CHUNK", 7)
    text = [f"Lungs clear. A {i} mm nodule at the base. No edema." for i in range(40)]
    table = pd.DataFrame({"study_id": [f"s{i}" for i in range(40)], "patient_id": "p", "text": text})
    write_table(tmp_path, "reports", table.assign(findings=None, impression=None))
    split_sentences_stage(tmp_path)
    alone = (tmp_path / "sentences.parquet").read_bytes()
    split_sentences_stage(tmp_path, workers=2)
    assert (tmp_path / "sentences.parquet").read_bytes() == alone
    assert read_table(tmp_path, "sentences")["study_id"].nunique() == 40


def test_the_file_of_reports_is_not_held(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    text = [rng.bytes(1000).hex() for _ in range(6000)]
    table = pd.DataFrame({"study_id": [f"s{i}" for i in range(6000)], "patient_id": "p", "text": text})
    write_table(tmp_path, "reports", table.assign(findings=None, impression=None))
    size, held = (tmp_path / "reports.parquet").stat().st_size, []

    def measured(chunk):
        held.append(pyarrow.total_allocated_bytes() - before)
        return original(chunk.slice(0, 0))

    original, before = sentences._table, pyarrow.total_allocated_bytes()
    monkeypatch.setattr(sentences, "_CHUNK", 100)
    monkeypatch.setattr(sentences, "_table", measured)
    split_sentences_stage(tmp_path)
    assert len(held) == 60
    assert max(held) < size / 2


def test_missing_reports_are_named(tmp_path):
    with pytest.raises(InputError, match=r"reports\.parquet does not exist"):
        split_sentences_stage(tmp_path)
