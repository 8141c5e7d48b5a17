"""Metrics and intervals: numpy only, every metric vectorised over weighted resamples of the test images."""
