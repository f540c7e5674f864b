"""Rows in: sources, the frozen schema, data versions."""

from everloop.data.schema import Schema, conform, event_times, infer, label, timed
from everloop.data.versions import list_versions, record

__all__ = ["Schema", "conform", "event_times", "infer", "label", "list_versions", "record", "timed"]
