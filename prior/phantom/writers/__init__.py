"""One file per real dataset: how the hospital's studies look in that dataset's raw format.

Each module has `write_study(out, study, film, report, seed) -> (image_id, study_id, rows by table)`, called
in any order and in any process, and `write_tables(out, rows, seed)`, called once with all rows in order.
Where a data set has several layouts, both take `layout`, the part of the key after the colon.
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
    "nih_small": "prior.phantom.writers.nih_small",
    "chestx_det": "prior.phantom.writers.chestx_det",
    "lesion_boxes": "prior.phantom.writers.lesion_boxes",
    "kermany": "prior.phantom.writers.kermany",
    "kermany_lungs": "prior.phantom.writers.kermany_lungs",
    "covidx:6": "prior.phantom.writers.covidx",
    "covidx:9B": "prior.phantom.writers.covidx",
    "covidx:CXR-4": "prior.phantom.writers.covidx",
    "siim:stage_1": "prior.phantom.writers.siim",
    "siim:stage_2": "prior.phantom.writers.siim",
    "siim:png": "prior.phantom.writers.siim",
}
