"""The small Kermany folder again, for its lung masks."""

from prior.phantom.writers.kermany import HOSPITAL, REPORTS, STREAM, write_study, write_tables

__all__ = ["HOSPITAL", "REPORTS", "STREAM", "write_study", "write_tables"]
