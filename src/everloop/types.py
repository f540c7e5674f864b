"""Frozen values that two or more folders share. Times are UTC event time, in seconds since 1970."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

__all__ = [
    "Column",
    "Decision",
    "Event",
    "Explanation",
    "Failure",
    "Feedback",
    "Json",
    "Plan",
    "Prediction",
    "Prepare",
    "Signal",
    "Task",
    "Variant",
    "as_json",
    "dated",
    "new_id",
    "parse_time",
    "show_time",
]

Json = Any
Task = Literal["regression", "classification"]
Dtype = Literal["float64", "int64", "bool", "string", "uint8"]
Kind = Literal["numeric", "categorical", "text", "image", "video"]


class Prepare(msgspec.Struct, frozen=True):
    """What is done to a column's values before the graph takes them (`everloop.inference.media`), and which version."""

    name: Literal["image", "video"]
    version: int
    options: dict[str, Json] = {}


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """One named input or output of a model: dtype, kind, the shape of one row of it, what training saw.

    A column with a pre-step (`prepare`) holds one text a row in tables, requests and the journal: a file in base64. Its
    dtype and shape are those of the array that the graph takes.
    """

    name: str
    dtype: Dtype
    kind: Kind = "numeric"
    shape: tuple[int, ...] = ()
    categories: tuple[str | int | float | bool, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    prepare: Prepare | None = None


class Variant(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version's place in a plan: where its bundle lies, which share of the requests it answers."""

    version: str
    bundle: str
    role: Literal["champion", "candidate"]
    weight: float
    level: tuple[float, ...] = ()
    """What corrects its answers (`everloop.statistics.levels`): one factor, or one weight a class; () for none."""


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which version answers which share; written atomically by the controller, read by every worker.

    `since` is the event time from which a candidate takes part; before it the champion answers alone.
    """

    generation: int
    model: str
    variants: tuple[Variant, ...]
    since: float = 0.0
    sticky_by: str | None = None

    @property
    def champion(self) -> Variant:
        return next(v for v in self.variants if v.role == "champion")

    @property
    def candidate(self) -> Variant | None:
        return next((v for v in self.variants if v.role == "candidate"), None)


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answered request as the journal keeps it (its id and time stand in the record around it).

    `inputs` and `outputs` map a column's name to one value a row; every list has the same length.
    `propensity` is the probability with which this variant was chosen; `batch` how many rows were computed together,
    where that is not the number of its own; `raw` holds the outputs before the plan's `level` corrected them. `key` is
    the digest of the key that it was drawn by, where it was.
    """

    model: str
    version: str
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    variant: str = "champion"
    propensity: float = 1.0
    why: str = "weight"
    generation: int = 0
    latency_us: int = 0
    batch: int = 0
    flags: dict[str, Any] = {}
    level: tuple[float, ...] = ()
    raw: dict[str, list[Any]] = {}
    key: str = ""


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request that the chosen version failed to answer, with the `status` that the caller got instead."""

    model: str
    version: str
    status: int
    variant: str = "champion"
    propensity: float = 1.0
    why: str = "weight"
    generation: int = 0
    latency_us: int = 0
    key: str = ""


class Feedback(msgspec.Struct, frozen=True, omit_defaults=True):
    """The true value of one row of one prediction, observed at `time`; sent twice it counts once."""

    prediction: str
    value: float | str | int | bool
    time: float
    row: int = 0


class Explanation(msgspec.Struct, frozen=True):
    """Why `version` answered as it did: one entry a row (base, values, errors, answer, method), and what was asked."""

    version: str
    rows: list[dict[str, Json]]
    asked: dict[str, Json]


class Signal(msgspec.Struct, frozen=True):
    """What a monitor says about one window: a value, the threshold it is held against, and the evidence."""

    name: str
    time: float
    value: float
    threshold: float
    firing: bool
    start: float
    end: float
    evidence: dict[str, Json] = {}


class Event(msgspec.Struct, frozen=True):
    """Something that happened, in the form of CloudEvents 1.0; a command is an event too."""

    id: str
    type: str
    source: str
    time: float
    subject: str = ""
    data: dict[str, Json] = {}


class Decision(msgspec.Struct, frozen=True):
    """What the loop answered to one or more events, and why."""

    time: float
    response: Literal["hold", "recalibrate", "retrain", "ask", "deploy", "approve", "promote", "roll_back"]
    reason: str
    events: tuple[str, ...] = ()
    evidence: dict[str, Json] = {}


_TIMES = {
    "time", "created", "started", "ended", "finished", "start", "end", "until", "labelled_until", "last",
    "newest_label", "newest_prediction", "sealed_at",
}  # fmt: skip
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""Any hexadecimal digit, with the two bits that say which kind of UUID it is."""


def new_id(time: float, random: bytes | None = None) -> str:
    """Return a UUIDv7 (RFC 9562) of the event time `time`: ids sort by time, to the millisecond."""
    tail = (random or os.urandom(10)).hex()
    moment = f"{max(0, int(time * 1000)) & (1 << 48) - 1:012x}"
    return f"{moment[:8]}-{moment[8:]}-7{tail[:3]}-{_VARIANT[tail[3]]}{tail[4:7]}-{tail[7:19]}"


def parse_time(value: str | float) -> float:
    """Return seconds since 1970 from an RFC 3339 text (UTC where it names no offset) or a number."""
    if isinstance(value, int | float):
        return float(value)
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def show_time(time: float) -> str:
    """Return `2012-05-01T07:00:00Z`."""
    text = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds" if time % 1 else "seconds")
    return text.replace("+00:00", "Z")


def dated(value: Any, name: str = "") -> Any:
    """Return JSON values with those that are times, by the names of their fields, as `show_time` writes them."""
    if isinstance(value, dict):
        return {k: dated(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [dated(v) for v in value]
    return show_time(value) if name in _TIMES and isinstance(value, float) else value


def as_json(value: object) -> dict[str, Json]:
    """Return a struct as plain JSON values."""
    return msgspec.to_builtins(value)  # type: ignore[no-any-return]
