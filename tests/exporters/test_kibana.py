"""Saved objects refer to each other and to fields that are mapped, and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from everloop.exporters.elastic import template
from everloop.exporters.kibana import saved_objects
from everloop.exporters.log_files import filebeat, logstash
from everloop.settings import Elastic

OBJECTS = [json.loads(line) for line in saved_objects("ml").splitlines()]


def fields(told: Any) -> set[str]:
    """Return the names of all fields that an object asks for."""
    if isinstance(told, dict):
        own = {told["field"]} if isinstance(told.get("field"), str) else set()
        return own.union(*map(fields, told.values())) if told else set()
    return set().union(*map(fields, told)) if isinstance(told, list) else set()


def mapped(properties: dict[str, Any], before: str = "") -> set[str]:
    found = set()
    for name, told in properties.items():
        found |= mapped(told["properties"], f"{before}{name}.") if "properties" in told else {before + name}
    return found


def test_references_lead_to_objects_of_the_file() -> None:
    known = {(one["type"], one["id"]) for one in OBJECTS}
    assert len(known) == len(OBJECTS)
    for one in OBJECTS:
        assert {(r["type"], r["id"]) for r in one["references"]} <= known
        source = one["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}")
        named = {r["name"] for r in one["references"]}
        assert json.loads(source).get("indexRefName") in {None, *named}
    (board,) = [one for one in OBJECTS if one["type"] == "dashboard"]
    panels = json.loads(board["attributes"]["panelsJSON"])
    assert [p["panelRefName"] for p in panels] == [r["name"] for r in board["references"]]
    assert len({(p["gridData"]["x"], p["gridData"]["y"]) for p in panels}) == len(panels)
    shown = {(r["type"], r["id"]) for r in board["references"]}
    assert shown == {(o["type"], o["id"]) for o in OBJECTS if o["type"] in ("visualization", "search")}


def test_every_field_is_mapped_and_every_view_has_a_template() -> None:
    known = template("ml")
    there = mapped(known["template"]["mappings"]["properties"])
    asked: set[str] = set()
    for one in OBJECTS:
        told = one["attributes"]
        asked |= fields(json.loads(told["visState"])) if "visState" in told else set()
        asked |= set(told.get("columns", ()))
        query = json.loads(told.get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}")).get("query", {})
        asked |= set(re.findall(r"([a-z.]+):", query.get("query", "")))
    assert asked >= {"@timestamp", "everloop.version", "log.level", "everloop.latency_us"}
    assert asked <= there
    views = {one["attributes"]["title"] for one in OBJECTS if one["type"] == "index-pattern"}
    assert views <= set(known["index_patterns"])


@pytest.mark.parametrize("server", ["elasticsearch", "opensearch"])
def test_files_name_the_logs_the_index_and_the_key(server: str) -> None:
    elastic = Elastic(url="https://search:9200", api_key="SEARCH_KEY", index="ml", server=server)  # type: ignore[arg-type]
    told = yaml.safe_load(filebeat(elastic, "/rides/logs"))
    (read,) = told["filebeat.inputs"]
    assert read["paths"] == ["/rides/logs/*.log"]
    output = told["output.elasticsearch"]
    assert output == {"hosts": ["https://search:9200"], "index": "ml-logs-%{+yyyy.MM}", "api_key": "${SEARCH_KEY}"}
    pipeline = logstash(elastic, "/rides/logs")
    assert pipeline.count("{") == pipeline.count("}")
    assert 'path => ["/rides/logs/*.log"]' in pipeline
    assert 'index => "ml-logs-%{+YYYY.MM}"' in pipeline
    assert f"  {server} {{" in pipeline
    assert ("SEARCH_KEY_PASSWORD" in pipeline) == (server == "opensearch")
