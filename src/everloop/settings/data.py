"""What `[data]` says about rows beyond their columns: rules they must keep, and how they are processed first."""

from __future__ import annotations

from typing import Literal

import msgspec

from everloop.settings.section import Section

__all__ = ["Augment", "Checks", "Media", "Process", "Rule"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the values of one column must be; a missing value breaks `present` alone."""

    min: float | None = None
    max: float | None = None
    values: tuple[str | float | bool, ...] | None = None
    regex: str | None = None
    """Must match the whole text."""
    unique: bool = False
    present: float = 0.0
    """The share of a file's rows that must hold a value."""
    increasing: bool = False
    """No value may be less than the one of the row above."""


class Checks(Section, frozen=True, kw_only=True):
    """`[data.checks]`: what rows must keep, beyond the types of `schema.toml`."""

    columns: dict[str, Rule] = msgspec.field(default_factory=dict)
    rows: tuple[str, ...] = ()
    """Expressions over columns that every row must fulfil, such as `start <= end`."""
    extra: Literal["note", "refuse"] = "note"
    """What happens to a column that the schema does not name."""
    leakage: Literal["off", "note", "refuse"] = "note"
    """What happens to rows that a model could not be judged on honestly."""
    future: str = "1d"
    """How far behind now the time of an added row may lie."""
    tolerance: float = 0.05
    """The share of served rows that may break a rule, and are left out, before a retraining is refused."""


class Process(Section, frozen=True, kw_only=True):
    """`[data.process]`: what is done to rows of files before the features function sees them, in this order."""

    coerce: dict[str, Literal["number", "text", "bool", "time"]] = msgspec.field(default_factory=dict)
    deduplicate: tuple[str, ...] | Literal["off", "rows"] = "off"
    """`rows`: of equal rows one stays; columns: of rows that are equal in them the newest."""
    hash: tuple[str, ...] = ()
    """Columns whose values become keyed digests (HMAC-SHA-256)."""
    secret: str = "EVERLOOP_DATA_SECRET"
    """The environment variable that holds the key of `hash`."""
    bins: dict[str, tuple[float, ...]] = msgspec.field(default_factory=dict)
    """Numbers become the lower edge of their bin."""
    prefix: dict[str, int] = msgspec.field(default_factory=dict)
    """Texts keep so many characters."""
    keep: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Other texts than these become `other`."""
    drop: tuple[str, ...] = ()


class Media(Section, frozen=True, kw_only=True):
    """`[data.columns.NAME]`: a column of images or videos, and the array that each becomes before a model sees it."""

    kind: Literal["image", "video"]
    size: tuple[int, int] = (64, 64)
    """Height and width in pixels."""
    mode: Literal["L", "RGB", "RGBA"] = "RGB"
    """`L` is grey."""
    frames: int = 8
    """How many frames of a video, evenly spread."""


class Augment(Section, frozen=True, kw_only=True):
    """`[training.augment]`: rows made from the rows of a fit, and of no other; off as it stands."""

    copies: int = 0
    """How many changed copies of each row are added."""
    noise: float = 0.0
    """Of numbers, in standard deviations of their column."""
    columns: tuple[str, ...] = ()
    """The numbers that get noise; all that hold fractions without it."""
    drop_words: float = 0.0
    """The probability with which each word of a text is left out."""
    swap_words: float = 0.0
    """The probability with which two neighbouring words change places."""
    flip: float = 0.0
    """The probability with which an image, or all of a video, is mirrored."""
    shift: int = 0
    """By how many pixels an image, or all of a video, is moved at most; what that uncovers repeats the edge."""
    pixel_noise: float = 0.0
    """Of pixels, in shares of their range."""
    balance: Literal["off", "repeat", "smote"] = "off"
    """Whether rare classes are made as frequent as the most frequent: by their own rows, or by rows between them."""

    @property
    def changes(self) -> bool:
        """Whether anything makes a copy differ from its row."""
        return any((self.noise, self.drop_words, self.swap_words, self.flip, self.shift, self.pixel_noise))

    @property
    def on(self) -> bool:
        return self.copies > 0 or self.balance != "off"
