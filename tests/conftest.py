"""Shared by all tests."""

from hypothesis import settings

settings.register_profile("everloop", deadline=None)  # nothing is timed here: the machine has other work
settings.load_profile("everloop")
