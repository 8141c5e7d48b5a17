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
