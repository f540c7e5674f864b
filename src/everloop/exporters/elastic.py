"""Elasticsearch: the index template and the lifecycle policy that its indices need."""

from __future__ import annotations

from typing import Any

__all__ = ["policy", "template"]

_KEYWORD, _LONG, _FLAT = {"type": "keyword", "ignore_above": 1024}, {"type": "long"}, {"type": "flattened"}
_KEYWORDS = ("project", "prediction", "model", "version", "variant", "why", "flags", "text", "change")
_LONGS = ("row", "generation", "latency_us", "record", "number")


def policy(days: int) -> dict[str, Any]:
    """Return a policy that deletes an index so many days after it was made; it rolls nothing over."""
    return {"policy": {"phases": {"delete": {"min_age": f"{days}d", "actions": {"delete": {}}}}}}


def template(index: str) -> dict[str, Any]:
    """Return the template of all indices of that name: numbers of rows as doubles, free forms flattened."""
    fields: dict[str, Any] = dict.fromkeys(_KEYWORDS, _KEYWORD) | dict.fromkeys(_LONGS, _LONG)
    fields |= {"propensity": {"type": "double"}, "value": {"type": "double"}}
    fields |= {"payload": _FLAT, "explanation": _FLAT, "asked": _FLAT}
    dotted = {"properties": {"version": _KEYWORD}}
    mappings = {
        "dynamic_templates": [
            {"whole": {"match_mapping_type": "long", "path_match": "everloop.*", "mapping": {"type": "double"}}},
            {"reals": {"match_mapping_type": "double", "path_match": "everloop.*", "mapping": {"type": "double"}}},
            {"texts": {"match_mapping_type": "string", "path_match": "everloop.*", "mapping": _KEYWORD}},
        ],
        "properties": {
            "@timestamp": {"type": "date"},
            "ecs": dotted,
            "event": {"properties": {"kind": _KEYWORD, "dataset": _KEYWORD}},
            "everloop": {"properties": fields},
        },
    }
    kinds = ("predictions", "feedback", "explanations", "changes")
    return {
        "index_patterns": [f"{index}-{kind}-*" for kind in kinds],
        "priority": 200,
        "template": {"settings": {"index": {"lifecycle": {"name": index}}}, "mappings": mappings},
    }
