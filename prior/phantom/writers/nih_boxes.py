"""The boxed part of NIH ChestX-ray14: the reader takes it from the same raw tree as the whole release."""

from prior.phantom.writers.nih_chestxray14 import (
    HOSPITAL,
    REPORTS,
    STREAM,
    write_study,
    write_tables,
)

__all__ = ["HOSPITAL", "REPORTS", "STREAM", "write_study", "write_tables"]
