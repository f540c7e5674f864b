"""Rows in: sources, the frozen schema, data versions."""

from everloop.data.process import by_row, process
from everloop.data.schema import Schema, conform, event_times, infer, label, timed
from everloop.data.versions import list_versions, record

__all__ = [
    "Schema",
    "by_row",
    "conform",
    "event_times",
    "infer",
    "label",
    "list_versions",
    "process",
    "record",
    "timed",
]
