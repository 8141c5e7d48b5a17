"""One file per real dataset: how the hospital's studies look in that dataset's raw format.

Each module has `write_study(out, study, film, report, seed) -> (image_id, study_id, rows by table)`, called
in any order and in any process, and `write_tables(out, rows, seed)`, called once with all rows in order.
Those of `SIMULATORS` also name the hospital whose patients they show; `prior.phantom.archives` runs them.
"""

SIMULATORS: dict[str, str] = {
    "iu_xray": "prior.phantom.writers.iu_xray",
    "ms_cxr": "prior.phantom.writers.ms_cxr",
    "chexpert_plus": "prior.phantom.writers.chexpert_plus",
    "mimic_cxr_dicom": "prior.phantom.writers.mimic_cxr_dicom",
    "chestx_det_release": "prior.phantom.writers.chestx_det_release",
    "kermany_release": "prior.phantom.writers.kermany_release",
    "nih_chestxray14": "prior.phantom.writers.nih_chestxray14",
    "nih_boxes": "prior.phantom.writers.nih_boxes",
    "vindr_cxr": "prior.phantom.writers.vindr_cxr",
    "covidx": "prior.phantom.writers.covidx",
    "tbx11k": "prior.phantom.writers.tbx11k",
    "covid_rural": "prior.phantom.writers.covid_rural",
    "folder": "prior.phantom.writers.folder",
}
