"""Prometheus's scrape configuration and rules, and Alertmanager's configuration, which tells the loop what fires."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

__all__ = ["Limits", "Places", "render"]

_HEAD = "# Rendered by Everloop: `everloop observe init` writes it again, unless somebody changed it.\n"


class Places(msgspec.Struct, frozen=True):
    """Where everything answers: `host:port` of each."""

    server: str
    door: str
    prometheus: str = "127.0.0.1:9090"
    alertmanager: str = "127.0.0.1:9093"


class Limits(msgspec.Struct, frozen=True):
    """What alerts are held against; seconds, where nothing else is said."""

    evaluation: float = 3600.0
    """Between two evaluations of the controller."""
    seal: float = 600.0
    """Between two seals of the journal."""
    coverage: float = 0.5
    error_ratio: float = 0.01
    latency: float = 0.25
    outbox: int = 100


def render(places: Places, limits: Limits, interval: str = "15s") -> dict[str, str]:
    """Return the files by path; `interval` is that of scrapes, of rules, and how long alerts are gathered."""
    return {
        "prometheus/prometheus.yml": _text(_scrapes(places, interval)),
        "prometheus/rules.yml": _text({"groups": [_recorded(), _server_alerts(limits), _loop_alerts(limits)]}),
        "alertmanager/alertmanager.yml": _text(_receivers(places, interval)),
    }


def _scrapes(places: Places, interval: str) -> dict[str, Any]:
    targets = {"everloop-server": places.server, "everloop-loop": places.door}
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [places.alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
        ],
    }


def _receivers(places: Places, interval: str) -> dict[str, Any]:
    hook = {
        "url": f"http://{places.door}/webhooks/alertmanager",
        "send_resolved": True,
        "http_config": {"authorization": {"credentials_file": "events-token"}},
    }
    route = {
        "receiver": "everloop",
        "group_by": ["alertname"],
        "group_wait": interval,
        "group_interval": "1m",
        "repeat_interval": "4h",
    }
    return {"route": route, "receivers": [{"name": "everloop", "webhook_configs": [hook]}]}


def _recorded() -> dict[str, Any]:
    failed = 'sum(rate(everloop_errors_total{status=~"5.."}[5m])) or vector(0)'
    asked = "sum(rate(everloop_predictions_total[5m])) + (sum(rate(everloop_errors_total[5m])) or vector(0))"
    buckets = "sum by (model, variant, le) (rate(everloop_prediction_seconds_bucket[5m]))"
    rules = {
        "model_version_variant:everloop_predictions:rate5m": (
            "sum by (model, version, variant) (rate(everloop_predictions_total[5m]))"
        ),
        "everloop:server_errors:ratio_rate5m": f"({failed}) / ({asked})",
        "model_variant:everloop_prediction_seconds:p50_5m": f"histogram_quantile(0.5, {buckets})",
        "model_variant:everloop_prediction_seconds:p99_5m": f"histogram_quantile(0.99, {buckets})",
        "everloop:evaluation:age_seconds": "time() - everloop_evaluation_timestamp_seconds",
        "everloop:journal_seal:age_seconds": "time() - everloop_journal_seal_timestamp_seconds",
    }
    return {"name": "everloop-recorded", "rules": [{"record": name, "expr": expr} for name, expr in rules.items()]}


def _server_alerts(limits: Limits) -> dict[str, Any]:
    rules = [
        _alert("EverloopServerDown", 'up{job="everloop-server"} == 0', "1m", "critical",
               "The server at {{ $labels.instance }} does not answer"),
        _alert("EverloopServerErrors", f"everloop:server_errors:ratio_rate5m > {limits.error_ratio}", "5m", "critical",
               "{{ $value | humanizePercentage }} of the requests fail"),
        _alert("EverloopSlowAnswers", f"model_variant:everloop_prediction_seconds:p99_5m > {limits.latency}", "10m",
               "warning", "One answer in a hundred of the {{ $labels.variant }} takes longer than {{ $value }} s"),
        _alert("EverloopJournalErrors", "increase(everloop_journal_errors_total[5m]) > 0", "0s", "critical",
               "The journal refuses records, so requests fail: look at its disk"),
        _alert("EverloopPlanErrors", "increase(everloop_plan_errors_total[10m]) > 0", "0s", "critical",
               "A plan could not be taken over: the one before it goes on"),
    ]  # fmt: skip
    return {"name": "everloop-server", "rules": rules}


def _loop_alerts(limits: Limits) -> dict[str, Any]:
    late, unsealed = 3 * limits.evaluation, 6 * limits.seal
    concept, growth = "realised_loss|challenger_gain|estimated_loss", "window_growth"
    rules = [
        _alert("EverloopDoorDown", 'up{job="everloop-loop"} == 0', "1m", "critical",
               "The door at {{ $labels.instance }} does not answer: `everloop events` opens it"),
        _alert("EverloopControllerMissing", "everloop_controller_running == 0", "5m", "critical",
               "No controller runs: nothing is watched, decided or retrained"),
        _alert("EverloopControllerNotEvaluating", f"everloop:evaluation:age_seconds > {late:g}", "5m", "warning",
               "The last evaluation lies {{ $value | humanizeDuration }} back"),
        _alert("EverloopConceptDrift", f'everloop_signal_firing{{signal=~"{concept}"}} == 1', "0s", "warning",
               "{{ $labels.signal }} fires: see `everloop status`"),
        _alert("EverloopDataDrift", 'everloop_signal_firing{signal="data_drift"} == 1', "0s", "warning",
               "{{ $labels.column }} is not distributed as in training any more"),
        _alert("EverloopSignalFiring", f'everloop_signal_firing{{signal!~"{concept}|data_drift|{growth}"}} == 1', "0s",
               "warning", "{{ $labels.signal }} {{ $labels.column }} fires"),
        _alert("EverloopRolloutExpired", 'increase(everloop_rollouts_total{status="expired"}[1h]) > 0', "0s",
               "warning", "A rollout ended without a verdict: labels were too few or too late"),
        _alert("EverloopRetrainingFailed", 'increase(everloop_retrainings_total{status="failed"}[1h]) > 0', "0s",
               "warning", "A retraining failed: the champion goes on"),
        _alert("EverloopLabelCoverageLow", f"everloop_label_coverage_ratio < {limits.coverage}", "1h", "warning",
               "Labels came for {{ $value | humanizePercentage }} of the answers only"),
        _alert("EverloopOutboxLag", f"everloop_outbox_waiting > {limits.outbox}", "15m", "warning",
               "{{ $value }} changes wait for {{ $labels.reader }}"),
        _alert("EverloopCommandsWaiting", "everloop_commands_waiting > 0", "10m", "warning",
               "What a person asked for is not carried out: does a controller run?"),
        _alert("EverloopJournalNotSealed",
               f"everloop:journal_seal:age_seconds > {unsealed:g} and delta(everloop_journal_bytes[30m]) > 0", "5m",
               "warning", "The journal grows, and was sealed {{ $value | humanizeDuration }} ago"),
    ]  # fmt: skip
    return {"name": "everloop-loop", "rules": rules}


def _alert(name: str, expression: str, held: str, severity: str, summary: str) -> dict[str, Any]:
    told = {"labels": {"severity": severity}, "annotations": {"summary": summary}}
    return {"alert": name, "expr": expression, **({} if held == "0s" else {"for": held}), **told}


def _text(value: dict[str, Any]) -> str:
    return _HEAD + str(yaml.safe_dump(value, sort_keys=False, width=110))
