"""What a model must show before it is trusted."""

from __future__ import annotations

from typing import Literal

from everloop.settings.section import Section

__all__ = ["Expectation", "Tests"]


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
