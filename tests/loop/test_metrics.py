"""The loop's metrics say what the rows say."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector
from tests.loop.observed import observed

from everloop.journal import Writer
from everloop.journal.sealing import seal
from everloop.loop.commands import post
from everloop.loop.controller import ControllerState
from everloop.loop.http import EventsApp
from everloop.loop.lease import lease
from everloop.loop.metrics import LoopMetrics
from everloop.loop.records import save_state
from everloop.loop.workspace import Workspace
from everloop.serving.metrics import Metrics
from everloop.types import Event, Plan, Variant


def shown(workspace: Workspace) -> dict[str, float]:
    """Return each series by its name and its labels' values."""
    registry = CollectorRegistry()
    registry.register(LoopMetrics(workspace))
    return {
        " ".join([sample.name.removeprefix("everloop_"), *sample.labels.values()]).strip(): sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }


def test_the_metrics_are_the_rows(tmp_path: Path) -> None:
    workspace = observed(tmp_path / "project")
    post(workspace.store, Event("1", "everloop.retrain", "me", 1.0))
    post(workspace.store, Event("2", "shop.sold", "me", 1.0))
    found = shown(workspace)
    expected = {
        "signal_value realised_loss": 5.0, "signal_threshold realised_loss": 3.0, "signal_firing data_drift a": 1.0,
        "signal_firing data_drift b": 0.0, "signal_timestamp_seconds data_drift a": 200.0, "realised_loss": 5.0,
        "estimated_loss": 4.5, "label_coverage_ratio": 0.75, "decisions_total retrain done": 1.0, "decisions_open": 1.0,
        "retrainings_total done": 1.0, "retrainings_total failed": 0.0, "last_retraining_timestamp_seconds": 250.0,
        "rollout_share_ratio r-1 v1 v2 canary": 0.25, "rollout_pairs r-1 v1 v2 canary": 0.0,
        "rollouts_total expired": 0.0, "champion_info toy v1": 1.0, "model_versions production": 1.0,
        "data_version_rows": 24.0, "data_version_end_timestamp_seconds": 90.0, "runs_total finished": 1.0,
        "events_total everloop.retrain": 1.0, "events_total other": 1.0, "commands_waiting": 1.0,
        "outbox_waiting tensorboard": 1.0, "controller_running": 0.0, "journal_bytes": 0.0, "journal_segments": 0.0,
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert "evaluation_timestamp_seconds" not in found
    workspace.close()


def test_the_journal_and_the_controller_are_seen(tmp_path: Path) -> None:
    workspace = observed(tmp_path / "project")
    with contextlib.closing(Writer(workspace.journal)) as writer:
        for number in range(3):
            writer.append("prediction", f"{number}", 1.0, b"{}")
        writer.flush()
    state = ControllerState(evaluated=300.0)
    with workspace.store.begin() as connection:
        save_state(connection, "controller", state)
    found = shown(workspace)
    assert found["journal_segments"] == 1
    assert found["journal_reader_lag_bytes controller"] == found["journal_bytes"] > 0
    assert found["evaluation_timestamp_seconds"] == 300
    assert "journal_seal_timestamp_seconds" not in found
    seal(workspace.journal, workspace.key, [workspace.key.public], 400.0)
    with lease(workspace.path(workspace.settings.storage.lease)):
        found = shown(workspace)
    assert found["journal_seal_timestamp_seconds"] == 400
    assert found["controller_running"] == 1
    workspace.close()


def test_the_page_lists_every_metric_with_its_kind_and_labels(tmp_path: Path) -> None:
    workspace = observed(tmp_path / "project")
    with contextlib.closing(Writer(workspace.journal)) as writer:
        writer.append("prediction", "1", 1.0, b"{}")
        writer.flush()
    seal(workspace.journal, workspace.key, [workspace.key.public], 400.0)
    with workspace.store.begin() as connection:
        save_state(connection, "controller", ControllerState(evaluated=300.0))
    server = Metrics()
    counted = server.versions(Plan(generation=1, model="m", variants=(Variant("v1", "b", "champion", 1.0),)))["v1"]
    counted.guard("schema", "flagged")
    server.error(400)
    app = EventsApp(workspace, {})
    app.refused.labels("400").inc()
    told = "".join(f"{name}\n" for name in sorted(page_rows()))
    assert told == "".join(f"{name}\n" for name in sorted({*shown_rows(server), *shown_rows(app.registry)}))
    workspace.close()


def page_rows() -> list[str]:
    """Return name, kind and labels of each metric in the docs."""
    page = Path(__file__).parents[2] / "docs" / "observability.md"
    rows = re.findall(r"^\| `(everloop_\w+)` \| (\w+) \| (.*?) ?\| ", page.read_text(), re.MULTILINE)
    return [f"{name} {kind} {sorted(re.findall(r'`(.+?)`', labels))}" for name, kind, labels in rows]


def shown_rows(collector: Collector) -> list[str]:
    """Return name, kind and labels of each metric that the code shows."""
    return [
        f"{m.name}{'_total' if m.type == 'counter' else ''} {m.type} {sorted(set(m.samples[0].labels) - {'le'})}"
        for m in collector.collect()
    ]
