"""Kibana: data views, searches, visualisations and a dashboard over what is sent, as saved objects.

In the forms that Kibana since 7.17 and OpenSearch Dashboards import alike: aggregation-based visualisations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

__all__ = ["saved_objects"]

VIEWS = {
    "predictions": "Predictions",
    "feedback": "Labels",
    "changes": "Decisions, rollouts, versions",
    "logs": "Logs",
}
WIDTH, HEIGHT = 24, 12


def saved_objects(index: str) -> str:
    """Return all objects, one JSON a line; the ids are made of the index, so that an import renews them."""
    views = [_view(index, kind, title) for kind, title in VIEWS.items()]
    panels = [
        _over_time(index, "predictions", "Predictions by version", ("everloop.version",)),
        _over_time(index, "predictions", "Latency", (), _percentiles("everloop.latency_us"), kind="line"),
        _over_time(index, "predictions", "Flagged rows by guard", ("everloop.flags",)),
        _over_time(index, "feedback", "Labels by project", ("everloop.project",)),
        _search(index, "changes", "What the loop did", ("everloop.change", "everloop.number")),
        _over_time(index, "logs", "Log lines by level", ("log.level",)),
        _search(index, "predictions", "Flagged predictions", _FLAGGED, "everloop.flags: *"),
        _search(index, "logs", "Warnings and errors", _LOGGED, "log.level: (warning or error or critical)"),
    ]
    return "".join(f"{msgspec.json.encode(one).decode()}\n" for one in (*views, *panels, _dashboard(index, panels)))


_FLAGGED = ("everloop.prediction", "everloop.version", "everloop.flags", "everloop.latency_us")
_LOGGED = ("log.level", "event.dataset", "message")
_COUNT: dict[str, Any] = {"id": "1", "enabled": True, "type": "count", "schema": "metric", "params": {}}


def _view(index: str, kind: str, title: str) -> dict[str, Any]:
    attributes = {"title": f"{index}-{kind}-*", "name": f"{index}: {title}", "timeFieldName": "@timestamp"}
    return _object("index-pattern", _id(index, kind), attributes, [])


def _over_time(
    index: str,
    kind_of_view: str,
    title: str,
    by: Sequence[str],
    metric: dict[str, Any] = _COUNT,
    *,
    kind: str = "histogram",
) -> dict[str, Any]:
    """Return a metric over time, split by a field."""
    time = {"field": "@timestamp", "interval": "auto", "min_doc_count": 1, "useNormalizedEsInterval": True}
    aggregations = [metric, _part("2", "date_histogram", "segment", time)]
    for place, field in enumerate(by, 3):
        asked = {"field": field, "size": 10, "order": "desc", "orderBy": "1"}
        aggregations.append(_part(str(place), "terms", "group", asked))
    state = {"title": title, "type": kind, "aggs": aggregations, "params": _axes(kind)}
    source = {"query": {"query": "", "language": "kuery"}, "filter": [], "indexRefName": _SOURCE}
    attributes = {
        "title": title,
        "description": "",
        "version": 1,
        "uiStateJSON": "{}",
        "visState": _text(state),
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text(source)},
    }
    return _object("visualization", _id(index, title), attributes, [_to_view(index, kind_of_view)])


def _search(index: str, view: str, title: str, columns: Sequence[str], query: str = "") -> dict[str, Any]:
    source = {"query": {"query": query, "language": "kuery"}, "filter": [], "indexRefName": _SOURCE}
    attributes = {
        "title": title,
        "description": "",
        "version": 1,
        "columns": list(columns),
        "sort": [["@timestamp", "desc"]],
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text(source)},
    }
    return _object("search", _id(index, title), attributes, [_to_view(index, view)])


def _dashboard(index: str, panels: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a dashboard of all panels, two beside each other."""
    placed, references = [], []
    for number, panel in enumerate(panels):
        x, y = number % 2 * WIDTH, number // 2 * HEIGHT
        grid = {"x": x, "y": y, "w": WIDTH, "h": HEIGHT, "i": str(number)}
        name = f"panel_{number}"
        placed.append({"panelIndex": str(number), "gridData": grid, "embeddableConfig": {}, "panelRefName": name})
        references.append({"name": name, "type": panel["type"], "id": panel["id"]})
    source = {"query": {"query": "", "language": "kuery"}, "filter": []}
    attributes = {
        "title": f"Everloop: {index}",
        "description": "Predictions, labels, decisions and logs",
        "version": 1,
        "timeRestore": True,
        "timeFrom": "now-7d",
        "timeTo": "now",
        "optionsJSON": _text({"useMargins": True, "hidePanelTitles": False}),
        "panelsJSON": _text(placed),
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text(source)},
    }
    return _object("dashboard", _id(index, "dashboard"), attributes, references)


_SOURCE = "kibanaSavedObjectMeta.searchSourceJSON.index"


def _to_view(index: str, kind: str) -> dict[str, str]:
    return {"name": _SOURCE, "type": "index-pattern", "id": _id(index, kind)}


def _percentiles(field: str) -> dict[str, Any]:
    return _part("1", "percentiles", "metric", {"field": field, "percents": [50, 95, 99]})


def _part(id: str, type: str, schema: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"id": id, "enabled": True, "type": type, "schema": schema, "params": params}


def _axes(kind: str) -> dict[str, Any]:
    """Return what a chart over time needs to be drawn."""
    label = {"show": True, "filter": True, "truncate": 100}
    value = {"id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "position": "left", "show": True, "style": {}}
    series = {
        "type": kind, "mode": "stacked" if kind == "histogram" else "normal", "show": True, "valueAxis": "ValueAxis-1",
        "data": {"id": "1", "label": ""}, "drawLinesBetweenPoints": True, "showCircles": True,
    }  # fmt: skip
    category = {"id": "CategoryAxis-1", "type": "category", "position": "bottom", "show": True, "style": {}}
    return {
        "type": kind,
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "grid": {"categoryLines": False},
        "categoryAxes": [category | {"scale": {"type": "linear"}, "labels": label, "title": {}}],
        "valueAxes": [
            value | {"scale": {"type": "linear", "mode": "normal"}, "labels": label | {"rotate": 0}, "title": {}}
        ],
        "seriesParams": [series],
    }


def _object(type: str, id: str, attributes: dict[str, Any], references: list[dict[str, str]]) -> dict[str, Any]:
    return {"type": type, "id": id, "attributes": attributes, "references": references}


def _id(index: str, name: str) -> str:
    return f"{index}-{name.lower().replace(' ', '-').replace(',', '')}"


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
