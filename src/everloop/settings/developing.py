"""What a model must show before it is trusted, and which of its parameters are searched."""

from __future__ import annotations

from typing import Literal

import msgspec

from everloop.settings.section import Section

__all__ = ["Expectation", "Search", "Tests", "Tuning"]


class Expectation(Section, frozen=True, kw_only=True):
    """`[[tests.expectations]]`: how answers move when one column does."""

    column: str
    change: str
    """`+2`, `-2`, `*1.1` of a number; `=value`; `+ more words`, `upper` or `lower` of a text."""
    expect: Literal["same", "up", "down"] = "same"
    label: str | int | bool | None = None
    """The class whose probability is looked at; by default the last one."""
    tolerance: float = 0.0
    """How far an answer may move the other way, or at all."""
    share: float = 1.0
    """The share of rows that must do as expected."""


class Tests(Section, frozen=True, kw_only=True):
    """`[tests]`: what `everloop test` holds a model against."""

    latency: str = ""
    """Of one row without HTTP, the 99th percentile at most; measured only without it."""
    memory: str = ""
    """Of a process that answers, at most; measured only without it."""
    skip: tuple[str, ...] = ()
    """Names of checks that are left out."""
    expectations: tuple[Expectation, ...] = ()


class Search(Section, frozen=True, kw_only=True):
    """`[tuning.parameters.NAME]`: where a parameter of the model function is searched."""

    min: int | float | None = None
    max: int | float | None = None
    step: int | float | None = None
    log: bool = False
    """Whether its size counts and not its distance: 0.01 to 0.1 is as far as 0.1 to 1."""
    values: tuple[str | int | float | bool, ...] = ()
    """Or the values to choose among."""


class Tuning(Section, frozen=True, kw_only=True):
    """`[tuning]`: which parameters `everloop tune` searches, and for how long."""

    trials: int = 50
    """Of a study, those of earlier calls included."""
    minutes: float = 30.0
    """No trial begins later than that in one call."""
    parallel: int = 1
    """Trials under way at once."""
    parameters: dict[str, Search] = msgspec.field(default_factory=dict)
