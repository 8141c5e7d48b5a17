import pytest

from prior.reports.sections import split_sections

MIMIC = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // pneumonia?

 COMPARISON:  None.

 FINDINGS:

 The lungs are clear.

 LUNGS:  No effusion.
 Heart size is normal.

 IMPRESSION:

 No acute process.
"""


def test_a_mimic_report_gives_both_sections_with_offsets():
    sections = split_sections(MIMIC)
    assert sections.findings == "The lungs are clear.\n\n LUNGS:  No effusion.\n Heart size is normal."
    assert sections.impression == "No acute process."
    assert [MIMIC[span.start : span.end] for span in sections.spans] == [
        sections.findings,
        sections.impression,
    ]


@pytest.mark.parametrize("header", ["FINDINGS", "Findings", "FNIDINGS", "FINDNGS", "FINDIGNS", "REPORT"])
def test_findings_headers_and_misspellings(header):
    assert split_sections(f" {header}:  Lungs clear.\n\n IMPRESSION: Normal.").findings == "Lungs clear."


@pytest.mark.parametrize(
    "header", ["IMPRESSION", "Impression", "IMPRESION", "IPMRESSION", "IMPRSSION", "CONCLUSION"]
)
def test_impression_headers_and_misspellings(header):
    sections = split_sections(f" FINDINGS: Lungs clear.\n\n {header}:  Normal.")
    assert (sections.findings, sections.impression) == ("Lungs clear.", "Normal.")


@pytest.mark.parametrize(
    "header", ["FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION", "Findings and impression"]
)
def test_a_combined_section_counts_as_findings(header):
    sections = split_sections(f" INDICATION: Cough.\n\n {header}: Lungs clear.")
    assert (sections.findings, sections.impression) == ("Lungs clear.", None)


def test_text_without_any_header_is_findings():
    assert split_sections("PORTABLE CHEST OF ___\n\nThe lungs are clear.").findings == "The lungs are clear."


def test_free_paragraphs_behind_other_sections_are_findings():
    text = " HISTORY:  Pain.\n\n COMPARISON:\n\n ___.\n\n Lungs are clear.\n\n IMPRESSION: Normal."
    sections = split_sections(text)
    assert (sections.findings, sections.impression) == ("Lungs are clear.", "Normal.")


def test_view_headers_hold_findings():
    assert split_sections("FRONTAL VIEW OF THE CHEST:  Lungs clear.").findings == "Lungs clear."


def test_wet_read_addendum_and_notification_are_left_out():
    text = (
        "WET READ: ___ 9:23 PM\n Preliminary text.\n ____\n   FINAL REPORT\n FINDINGS: Lungs clear.\n\n"
        " NOTIFICATION:  Dr. ___ was told.\n\n ADDENDUM:  Corrected side."
    )
    assert split_sections(text).findings == "Lungs clear."


def test_an_inline_header_in_capitals_starts_a_section():
    sections = split_sections("FINDINGS: Lungs are clear. IMPRESSION: No disease.")
    assert (sections.findings, sections.impression) == ("Lungs are clear.", "No disease.")


@pytest.mark.parametrize("text", ["", " \n\n", "FINDINGS:\n\nIMPRESSION: \n", "___"])
def test_no_text_gives_no_section(text):
    assert split_sections(text).spans == ()


RULE = " " + 78 * "_"


@pytest.mark.parametrize(
    ("text", "findings", "impression"),
    [
        (" IMPRESSION AND FINDINGS:  Lungs clear.", "Lungs clear.", None),
        (" COMPARISON:  ___. FINDINGS AND IMPRESSION: Lungs clear.", "Lungs clear.", None),
        (" FINDINGS & IMPRESSION:\n\n 1. Clear.\n\n 2. No edema.", "1. Clear.\n\n 2. No edema.", None),
        # no colon: alone on the line, or before a dash
        ("FINDINGS\n\nLungs clear.\n\nIMPRESSION\n\nNormal.", "Lungs clear.", "Normal."),
        ("FINDINGS - Lungs clear.\nIMPRESSION- Normal.", "Lungs clear.", "Normal."),
        ("FINDINGS :\nLungs clear.\nImpression :\nNormal.", "Lungs clear.", "Normal."),
        # addenda, wherever they stand and however they are written
        (f" FINDINGS: Clear lungs.\n\n IMPRESSION: Normal.\n{RULE}\n FINAL ADDENDUM\n\n Side.\n\n More.",
         "Clear lungs.", "Normal."),
        (" FINDINGS: Clear lungs.\n\n IMPRESSION: Normal.\n\n ADDENDUM  Read again.\n\n Nodule.",
         "Clear lungs.", "Normal."),
        (f" ADDENDUM: Side corrected.\n\n Called.\n{RULE}\n   FINAL REPORT\n CHEST, ___\n\n Clear lungs.",
         "Clear lungs.", None),
        (" ADDENDUM: As below. FINDINGS: Clear lungs. IMPRESSION: Normal.", "Clear lungs.", "Normal."),
        # a wet read of several paragraphs ends where the report begins
        (f" WET READ: ___ 8:15 PM\n Edema.\n\n Line.\n{RULE}\n  FINAL REPORT\n HISTORY: Ill\n\n Clear lungs.",
         "Clear lungs.", None),
        ("   FINAL REPORT\n The lungs are clear.", "The lungs are clear.", None),
        # a blank of de-identification is no rule
        (" FINDINGS: Compared to\n ___\n lungs are clear.", "Compared to\n ___\n lungs are clear.", None),
        # colons, times and blanks inside a section are no headers
        (" IMPRESSION:  AP chest compared to ___:\n\n No edema at 5:16.", None,
         "AP chest compared to ___:\n\n No edema at 5:16."),
        ("FINDINGS: Clear lungs.\n\n NOTIFICATION: Dr. ___ at 3:45 p.m.\n\n IMPRESSION: Normal.",
         "Clear lungs.", "Normal."),
        (" RECOMMENDATION(S):  CT.\n\n FINDINGS:  Clear lungs.", "Clear lungs.", None),
        ("FINDINGS: Old.\n\nFINDINGS: New.", "Old.\n\nNew.", None),
        # one line, names not in capitals; the word inside a sentence is no header
        ("Findings: Lungs clear. Impression: Normal.", "Lungs clear.", "Normal."),
        ("FINDINGS: Gives the impression: edema.", "Gives the impression: edema.", None),
        # both names misspelt, in one header
        ("FINDNGS AND IMPRESION: Lungs clear.", "Lungs clear.", None),
        ("FINDINGS/IMPRESSON: Lungs clear.", "Lungs clear.", None),
        # organs as headers are findings, name and all, unless there is a header for these
        ("INDICATION: Cough.\nLUNGS: Clear.\nHEART: Large.\n\nIMPRESSION: Normal.",
         "LUNGS: Clear.\n\nHEART: Large.", "Normal."),
        ("PROCEDURE: AP.\n\nFINDINGS:\n\nLUNGS: Clear.\n\nHEART: Large.",
         "LUNGS: Clear.\n\nHEART: Large.", None),
    ],
)  # fmt: skip
def test_layouts_of_real_reports(text, findings, impression):
    sections = split_sections(text)
    assert (sections.findings, sections.impression) == (findings, impression)
    for span in sections.spans:
        assert text[span.start : span.end] in getattr(sections, span.section)
        assert text[span.start : span.end] == text[span.start : span.end].strip()
