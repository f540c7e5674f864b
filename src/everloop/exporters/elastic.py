"""Elasticsearch and OpenSearch: the index template and the policy that their indices need."""

from __future__ import annotations

from typing import Any, Literal

__all__ = ["Server", "policy", "template"]

Server = Literal["elasticsearch", "opensearch"]

_KEYWORD, _LONG, _TEXT = {"type": "keyword", "ignore_above": 1024}, {"type": "long"}, {"type": "text"}
_FLAT = {"elasticsearch": {"type": "flattened"}, "opensearch": {"type": "flat_object"}}
_KINDS = ("predictions", "feedback", "explanations", "changes", "logs")
_KEYWORDS = ("project", "prediction", "model", "version", "variant", "why", "flags", "text", "change")
_LONGS = ("row", "generation", "latency_us", "record", "number")


def policy(index: str, days: int, server: Server = "elasticsearch") -> dict[str, Any]:
    """Return a policy that deletes an index so many days after it was made; it rolls nothing over."""
    if server == "opensearch":
        gone = {"state_name": "gone", "conditions": {"min_index_age": f"{days}d"}}
        states = [
            {"name": "kept", "actions": [], "transitions": [gone]},
            {"name": "gone", "actions": [{"delete": {}}], "transitions": []},
        ]
        taken = [{"index_patterns": _patterns(index), "priority": 200}]
        told = {"description": f"{index}: {days} days", "default_state": "kept", "states": states}
        return {"policy": told | {"ism_template": taken}}
    return {"policy": {"phases": {"delete": {"min_age": f"{days}d", "actions": {"delete": {}}}}}}


def template(index: str, server: Server = "elasticsearch") -> dict[str, Any]:
    """Return the template of all indices of that name: numbers of rows as doubles, free forms flattened."""
    fields: dict[str, Any] = dict.fromkeys(_KEYWORDS, _KEYWORD) | dict.fromkeys(_LONGS, _LONG)
    fields |= {"propensity": {"type": "double"}, "value": {"type": "double"}}
    fields |= dict.fromkeys(("payload", "explanation", "asked"), _FLAT[server])
    mappings = {
        "dynamic_templates": [
            {"whole": {"match_mapping_type": "long", "path_match": "everloop.*", "mapping": {"type": "double"}}},
            {"reals": {"match_mapping_type": "double", "path_match": "everloop.*", "mapping": {"type": "double"}}},
            {"texts": {"match_mapping_type": "string", "path_match": "everloop.*", "mapping": _KEYWORD}},
        ],
        "properties": {
            "@timestamp": {"type": "date"},
            "ecs": {"properties": {"version": _KEYWORD}},
            "event": {"properties": {"kind": _KEYWORD, "dataset": _KEYWORD}},
            "message": _TEXT,
            "log": {"properties": {"level": _KEYWORD, "logger": _KEYWORD}},
            "service": {"properties": {"name": _KEYWORD}},
            "process": {"properties": {"pid": _LONG}},
            "error": {"properties": {"type": _KEYWORD, "message": _TEXT, "stack_trace": _TEXT}},
            "everloop": {"properties": fields},
        },
    }
    kept = {"settings": {"index": {"lifecycle": {"name": index}}}} if server == "elasticsearch" else {}
    return {"index_patterns": _patterns(index), "priority": 200, "template": kept | {"mappings": mappings}}


def _patterns(index: str) -> list[str]:
    return [f"{index}-{kind}-*" for kind in _KINDS]
