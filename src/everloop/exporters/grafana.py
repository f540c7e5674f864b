"""Grafana's dashboards as JSON, and the provisioning that loads them with their data source."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import yaml

__all__ = ["render"]

_SOURCE = {"type": "prometheus", "uid": "everloop-prometheus"}
_WIDTH, _HEIGHT, _ACROSS = 12, 8, 24
_RATE = "model_version_variant:everloop_predictions:rate5m"
_GUARDS = "sum by (guard, outcome) (rate(everloop_guards_total[5m]))"
_SIGNALS = 'everloop_signal_value{signal!="data_drift"} / (everloop_signal_threshold != 0)'
_RETRAINED = "time() - everloop_last_retraining_timestamp_seconds"
_P50, _P99 = "model_variant:everloop_prediction_seconds:p50_5m", "model_variant:everloop_prediction_seconds:p99_5m"


class Panel(NamedTuple):
    """One picture: its title, Grafana's name of its unit, and its queries with their legends."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


_AGE = "seconds since then, in event time"
DASHBOARDS: dict[str, tuple[str, dict[str, tuple[Panel, ...]]]] = {
    "everloop-serving": ("Everloop: serving", {
        "Traffic and latency by variant": (
            Panel("Predictions", "reqps", ((_RATE, "{{variant}} {{version}}"),)),
            Panel("Latency", "s", ((_P50, "{{variant}} median"), (_P99, "{{variant}} 99 %"))),
            Panel("Errors", "reqps", (("sum by (status) (rate(everloop_errors_total[5m]))", "{{status}}"),)),
            Panel("Share of failed requests", "percentunit", (("everloop:server_errors:ratio_rate5m", "failed"),)),
            Panel("Guards", "reqps", ((_GUARDS, "{{guard}} {{outcome}}"),)),
            Panel("Labels", "reqps", (("rate(everloop_feedback_total[5m])", "labels"),)),
            Panel("Generation of the plan", "none", (("everloop_plan_generation", "generation"),), "stat"),
            Panel("Champion", "none", (("everloop_champion_info", "{{version}}"),), "stat"),
        ),
        "Journal": (
            Panel("Size", "bytes", (("everloop_journal_bytes", "all segments"),)),
            Panel("Not read yet", "bytes", (("everloop_journal_reader_lag_bytes", "{{reader}}"),)),
            Panel("Age of the newest seal", "s", (("everloop:journal_seal:age_seconds", "seal"),)),
            Panel("Refused records", "none", (("increase(everloop_journal_errors_total[5m])", "refused"),)),
        ),
    }),
    "everloop-loop": ("Everloop: the loop", {
        "Drift": (
            Panel("Data drift by feature", "none", (('everloop_signal_value{signal="data_drift"}', "{{column}}"),)),
            Panel("Signals against their threshold", "none", (
                (_SIGNALS, "{{signal}} {{column}}"),
            )),
            Panel("Signals that fire", "none", (("everloop_signal_firing", "{{signal}} {{column}}"),)),
        ),
        "Performance": (
            Panel("Realised against estimated loss", "none", (
                ("everloop_realised_loss", "realised"), ("everloop_estimated_loss", "estimated"),
            )),
            Panel("Answers whose labels came", "percentunit", (("everloop_label_coverage_ratio", "coverage"),)),
        ),
        "Rollouts": (
            Panel("Share of the candidate", "percentunit", (("everloop_rollout_share_ratio", "{{candidate}}"),)),
            Panel("Paired labels", "none", (("everloop_rollout_pairs", "{{candidate}}"),)),
            Panel("Ended rollouts", "none", (("everloop_rollouts_total", "{{status}}"),)),
            Panel("Versions by stage", "none", (("everloop_model_versions", "{{stage}}"),), "stat"),
        ),
        "Triggers and decisions": (
            Panel("Decisions", "none", (("everloop_decisions_total", "{{response}} {{status}}"),)),
            Panel("Retrainings", "none", (("everloop_retrainings_total", "{{status}}"),)),
            Panel("Last retraining: " + _AGE, "s", ((_RETRAINED, "retraining"),), "stat"),
            Panel("Events", "none", (("everloop_events_total > 0", "{{type}}"),)),
            Panel("Waiting", "none", (
                ("everloop_commands_waiting", "commands"), ("everloop_decisions_open", "decisions"),
                ("everloop_outbox_waiting", "{{reader}}"),
            )),
            Panel("Last evaluation: " + _AGE, "s", (("everloop:evaluation:age_seconds", "evaluation"),), "stat"),
        ),
    }),
}  # fmt: skip


def render(prometheus: str) -> dict[str, str]:
    """Return the files by path; `prometheus` is the URL that Grafana reads from."""
    source = {"name": "Prometheus of Everloop", "access": "proxy", "url": prometheus, "isDefault": False}
    sources = {"apiVersion": 1, "datasources": [source | _SOURCE]}
    provider = {
        "name": "everloop",
        "folder": "Everloop",
        "type": "file",
        "options": {"path": "/var/lib/grafana/dashboards/everloop"},
    }
    files = {
        "grafana/provisioning/datasources/everloop.yml": yaml.safe_dump(sources, sort_keys=False),
        "grafana/provisioning/dashboards/everloop.yml": yaml.safe_dump(
            {"apiVersion": 1, "providers": [provider]}, sort_keys=False
        ),
    }
    for uid, (title, rows) in DASHBOARDS.items():
        files[f"grafana/dashboards/{uid}.json"] = json.dumps(_dashboard(uid, title, rows), indent=2) + "\n"
    return files


def _dashboard(uid: str, title: str, rows: dict[str, tuple[Panel, ...]]) -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    top = 0
    for name, row in rows.items():
        place = {"h": 1, "w": _ACROSS, "x": 0, "y": top}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": name, "collapsed": False, "gridPos": place, "panels": []}
        )
        for number, panel in enumerate(row):
            left, down = number % (_ACROSS // _WIDTH), number // (_ACROSS // _WIDTH)
            at = {"h": _HEIGHT, "w": _WIDTH, "x": left * _WIDTH, "y": top + 1 + down * _HEIGHT}
            panels.append(_panel(len(panels) + 1, panel, at))
        top += 1 + -(-len(row) * _WIDTH // _ACROSS) * _HEIGHT
    return {
        "uid": uid,
        "title": title,
        "tags": ["everloop"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": []},
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(id: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": _SOURCE,
            "expr": expression,
            "legendFormat": legend,
            "exemplar": panel.title == "Latency",
        }
        for number, (expression, legend) in enumerate(panel.queries)
    ]
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}}
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name"}
    return {
        "id": id,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": options,
        "targets": targets,
    }
