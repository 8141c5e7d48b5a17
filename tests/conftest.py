"""Hypothesis without time limits: a busy machine is no error."""

from hypothesis import settings

settings.register_profile("prior", deadline=None)
settings.load_profile("prior")
