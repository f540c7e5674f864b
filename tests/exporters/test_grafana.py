"""Dashboards in the form that Grafana loads; whether their queries have data, `test_observability.py` tells."""

from __future__ import annotations

import json
from typing import Any

import yaml

from everloop.exporters.grafana import render

FILES = render("http://127.0.0.1:9090")
DASHBOARDS = {name: json.loads(text) for name, text in FILES.items() if name.endswith(".json")}


def test_the_panels_have_their_form_and_lie_beside_each_other() -> None:
    for board in DASHBOARDS.values():
        assert set(board) >= {"uid", "title", "schemaVersion", "panels", "time", "templating"}
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert max(x for x, _ in cells) < 24
            taken |= cells
            if panel["type"] != "row":
                _check_picture(panel)


def _check_picture(panel: dict[str, Any]) -> None:
    assert panel["type"] in {"timeseries", "stat"}
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    for target in panel["targets"]:
        assert target["expr"]
        assert target["datasource"] == panel["datasource"]


def test_the_data_source_of_the_panels_is_provisioned() -> None:
    sources = yaml.safe_load(FILES["grafana/provisioning/datasources/everloop.yml"])
    [source] = sources["datasources"]
    used = {(p["datasource"]["type"], p["datasource"]["uid"]) for b in DASHBOARDS.values() for p in b["panels"][1:2]}
    assert used == {(source["type"], source["uid"])}
    assert source["url"] == "http://127.0.0.1:9090"
    providers = yaml.safe_load(FILES["grafana/provisioning/dashboards/everloop.yml"])
    assert providers["providers"][0]["type"] == "file"
    assert {board["uid"] for board in DASHBOARDS.values()} == {"everloop-serving", "everloop-loop"}
