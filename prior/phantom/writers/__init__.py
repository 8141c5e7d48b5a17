"""One file per real dataset: how the hospital's studies look in that dataset's raw format.

Each module has `write_study(out, study, film, report, seed) -> (image_id, study_id, rows by table)`, called
in any order and in any process, and `write_tables(out, rows, seed)`, called once with all rows in order.
"""
