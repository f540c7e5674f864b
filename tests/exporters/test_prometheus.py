"""The rules are rules: Prometheus's own tool accepts them, and each alert fires on what it is for, and ends."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from everloop.exporters.prometheus import Limits, Places, render

PLACES = Places("127.0.0.1:8080", "127.0.0.1:8085")
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="needs the Debian package prometheus")

FIRING = {
    "EverloopServerDown": ('up{job="everloop-server"}', "0x30"),
    "EverloopDoorDown": ('up{job="everloop-loop"}', "0x30"),
    "EverloopServerErrors": ('everloop_errors_total{status="503"}', "0+5x30"),
    "EverloopSlowAnswers": ('everloop_prediction_seconds_bucket{model="m",variant="champion",le="+Inf"}', "0+60x30"),
    "EverloopJournalErrors": ("everloop_journal_errors_total", "0x20 1x10"),
    "EverloopPlanErrors": ("everloop_plan_errors_total", "0x20 1x10"),
    "EverloopControllerMissing": ("everloop_controller_running", "0x30"),
    "EverloopControllerNotEvaluating": ("everloop_evaluation_timestamp_seconds", "-100000x30"),
    "EverloopConceptDrift": ('everloop_signal_firing{signal="realised_loss"}', "0x20 1x10"),
    "EverloopDataDrift": ('everloop_signal_firing{signal="data_drift",column="temp"}', "0x20 1x10"),
    "EverloopSignalFiring": ('everloop_signal_firing{signal="outliers"}', "0x20 1x10"),
    "EverloopRolloutExpired": ('everloop_rollouts_total{status="expired"}', "0x20 1x10"),
    "EverloopRetrainingFailed": ('everloop_retrainings_total{status="failed"}', "0x20 1x10"),
    "EverloopLabelCoverageLow": ("everloop_label_coverage_ratio", "0.1x90"),
    "EverloopOutboxLag": ('everloop_outbox_waiting{reader="mlflow"}', "500x30"),
    "EverloopCommandsWaiting": ("everloop_commands_waiting", "1x30"),
    "EverloopJournalNotSealed": ("everloop_journal_seal_timestamp_seconds", "-100000x30"),
}
QUIET = {
    "EverloopServerErrors": [("everloop_predictions_total", "0+60x30")],
    "EverloopSlowAnswers": [
        ('everloop_prediction_seconds_bucket{model="m",variant="champion",le="0.5"}', "0+60x30"),
        ('everloop_prediction_seconds_bucket{model="m",variant="champion",le="0.25"}', "0x30"),
    ],
    "EverloopJournalNotSealed": [("everloop_journal_bytes", "0+1000x30")],
}
"""Further series that an alert needs."""


def written(folder: Path) -> dict[str, Any]:
    """Write the rendered files and return what they hold."""
    for name, text in render(PLACES, Limits()).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {path.name: yaml.safe_load(path.read_text()) for path in folder.rglob("*.yml")}


def alerts(rules: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule}


def test_each_alert_says_what_to_think_of_it(tmp_path: Path) -> None:
    files = written(tmp_path)
    found = alerts(files["rules.yml"])
    assert set(found) == set(FIRING)
    assert {rule["labels"]["severity"] for rule in found.values()} == {"warning", "critical"}
    assert all(rule["annotations"]["summary"] for rule in found.values())
    jobs = {job["job_name"] for job in files["prometheus.yml"]["scrape_configs"]}
    assert jobs == {"everloop-server", "everloop-loop"}
    [hook] = files["alertmanager.yml"]["receivers"][0]["webhook_configs"]
    assert hook["url"] == "http://127.0.0.1:8085/webhooks/alertmanager"


@needs_promtool
def test_the_tools_of_prometheus_accept_the_files(tmp_path: Path) -> None:
    written(tmp_path)
    place = tmp_path / "prometheus"
    checked = subprocess.run(["promtool", "check", "config", place / "prometheus.yml"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "23 rules found" in checked.stdout
    if shutil.which("amtool"):
        (tmp_path / "alertmanager" / "events-token").write_text("t")
        command = ["amtool", "check-config", str(tmp_path / "alertmanager" / "alertmanager.yml")]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


@needs_promtool
def test_each_alert_fires_on_what_it_is_for(tmp_path: Path) -> None:
    rules = alerts(written(tmp_path)["rules.yml"])
    tests = [_case(name, rules[name]) for name in FIRING] + [_silence()]
    place = tmp_path / "prometheus" / "tests.yml"
    place.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}))
    checked = subprocess.run(["promtool", "test", "rules", place], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _case(name: str, rule: dict[str, Any]) -> dict[str, Any]:
    """Return a test in which the alert fires in the end: its number of alerts is counted, whatever their labels."""
    series = [{"series": s, "values": values} for s, values in (FIRING[name], *QUIET.get(name, ()))]
    counted = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
    at = "80m" if rule.get("for") == "1h" else "22m"
    test = {"expr": counted, "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}]}
    return {"name": name, "interval": "1m", "input_series": series, "promql_expr_test": [test]}


def _silence() -> dict[str, Any]:
    """Return a test in which all is well, and nothing fires."""
    well = {
        'up{job="everloop-server"}': "1x100",
        'up{job="everloop-loop"}': "1x100",
        "everloop_predictions_total": "0+60x100",
        'everloop_errors_total{status="400"}': "0+5x100",
        'everloop_prediction_seconds_bucket{model="m",variant="champion",le="0.001"}': "0+60x100",
        'everloop_prediction_seconds_bucket{model="m",variant="champion",le="+Inf"}': "0+60x100",
        "everloop_journal_errors_total": "0x100",
        "everloop_controller_running": "1x100",
        "everloop_evaluation_timestamp_seconds": "0+60x100",
        'everloop_signal_firing{signal="data_drift",column="temp"}': "0x100",
        'everloop_rollouts_total{status="expired"}': "3x100",
        "everloop_label_coverage_ratio": "0.9x100",
        "everloop_outbox_waiting": "3x100",
        "everloop_journal_bytes": "0+1000x100",
        "everloop_journal_seal_timestamp_seconds": "0+60x100",
    }
    series = [{"series": name, "values": values} for name, values in well.items()]
    test = {"expr": "ALERTS", "eval_time": "90m", "exp_samples": []}
    return {"name": "all is well", "interval": "1m", "input_series": series, "promql_expr_test": [test]}
