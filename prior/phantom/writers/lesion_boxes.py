"""The small NIH folder again, for its lesion boxes."""

from prior.phantom.writers.nih_small import HOSPITAL, REPORTS, STREAM, write_study, write_tables

__all__ = ["HOSPITAL", "REPORTS", "STREAM", "write_study", "write_tables"]
