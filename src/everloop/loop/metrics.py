"""What the loop shows to Prometheus: gauges and counts over one read-only snapshot of the store and the journal.

`..._timestamp_seconds` of what was decided, judged and monitored is event time; of what was sealed it is wall time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from everloop import store
from everloop.bundles import trusted
from everloop.journal import Position
from everloop.journal import seals as journal_seals
from everloop.journal.segments import path_of, segments
from everloop.loop.commands import ASKED, CLOCK
from everloop.loop.lease import holder
from everloop.loop.tracking import shippers
from everloop.loop.workspace import Workspace
from everloop.rollouts import ACTIVE
from everloop.store import Connection
from everloop.triggers import SENSED

__all__ = ["LoopMetrics"]

_TYPES = (*ASKED, CLOCK, *SENSED)
"""Types of events that are counted apart; those that others send are counted together."""


class _Watched(msgspec.Struct):
    """What is read of the controller's own state: how far it is in the journal."""

    position: Position = Position(0, 0)


class _Controller(msgspec.Struct):
    evaluated: float | None = None
    watch: _Watched = msgspec.field(default_factory=_Watched)


class LoopMetrics:
    """A collector of `prometheus_client`: every scrape reads the rows as they are then."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._readers = {s.outbox: s.kinds for s in shippers(workspace)}
        self._seals: tuple[int, float | None] = (-1, None)

    def collect(self) -> Iterable[Metric]:
        """Return all metrics of the loop."""
        with self._workspace.store.read() as connection:
            controller = _controller(connection)
            yield from _signals(connection)
            yield from _decisions(connection)
            yield from _rollouts(connection)
            yield from _versions(connection)
            yield from _events(connection)
        yield from self._outbox()
        yield from self._running(controller)
        yield from self._journal(controller)

    def _outbox(self) -> Iterator[Metric]:
        waiting = _gauge("outbox_waiting", "Changes that a reader of the outbox has not brought on.", "reader")
        for outbox, kinds in self._readers.items():
            waiting.add_metric([outbox.name], outbox.waiting(kinds))
        yield waiting

    def _running(self, controller: _Controller) -> Iterator[Metric]:
        held = holder(self._workspace.path(self._workspace.settings.storage.lease)) is not None
        yield _gauge("controller_running", "Whether a controller holds the project's lease.", value=float(held))
        if controller.evaluated is not None:
            told = "Event time of the controller's newest evaluation."
            yield _gauge("evaluation_timestamp_seconds", told, value=controller.evaluated)

    def _journal(self, controller: _Controller) -> Iterator[Metric]:
        folder, sizes = self._workspace.journal, dict[int, int]()
        for segment in segments(folder):
            try:
                sizes[segment] = path_of(folder, segment).stat().st_size
            except FileNotFoundError:  # retention dropped it just now
                continue
        yield _gauge("journal_bytes", "Bytes of the journal's segments.", value=sum(sizes.values()))
        yield _gauge("journal_segments", "Segments of the journal.", value=len(sizes))
        if (sealed := self._sealed()) is not None:
            yield _gauge("journal_seal_timestamp_seconds", "Wall time of the journal's newest seal.", value=sealed)
        place = controller.watch.position
        behind = sum(
            size - (place.offset if n == place.segment else 0) for n, size in sizes.items() if n >= place.segment
        )
        lag = _gauge("journal_reader_lag_bytes", "Bytes of the journal that a reader has not read.", "reader")
        lag.add_metric(["controller"], max(0, behind))
        yield lag

    def _sealed(self) -> float | None:
        """Return when the journal was sealed last; the seals are read again when there are more of them."""
        path = self._workspace.journal / journal_seals.FILE
        size = path.stat().st_size if path.exists() else 0
        if self._seals[0] != size:
            seals = journal_seals.read(self._workspace.journal, trusted(self._workspace.keys))
            self._seals = size, max((s.time for s in seals.checkpoints), default=None)
        return self._seals[1]


def _controller(connection: Connection) -> _Controller:
    data = connection.execute(sa.select(store.state.c.data).where(store.state.c.name == "controller")).scalar()
    return msgspec.msgpack.decode(data, type=_Controller) if data else _Controller()


def _signals(connection: Connection) -> Iterator[Metric]:
    """Return the newest signal of each name; what stands behind a colon in it is its column."""
    newest = sa.select(sa.func.max(store.signal.c.id)).group_by(store.signal.c.name)
    rows = connection.execute(sa.select(store.signal).where(store.signal.c.id.in_(newest))).mappings().all()
    told = {
        "value": _gauge("signal_value", "What a monitor says about its newest window.", "signal", "column"),
        "threshold": _gauge("signal_threshold", "What the value is held against.", "signal", "column"),
        "firing": _gauge("signal_firing", "Whether the monitor fires.", "signal", "column"),
        "time": _gauge("signal_timestamp_seconds", "Event time of the monitor's newest word.", "signal", "column"),
    }
    for row in rows:
        signal, _, column = row["name"].partition(":")
        for field, gauge in told.items():
            gauge.add_metric([signal, column], float(row[field]))
    yield from told.values()
    by_name = {row["name"]: row for row in rows}
    for name, words in (
        ("realised_loss", "Mean loss by labels"),
        ("estimated_loss", "Mean loss estimated without labels"),
    ):
        if name in by_name:
            yield _gauge(name, f"{words}, in the newest window.", value=by_name[name]["value"])
    if (realised := by_name.get("realised_loss")) and "coverage" in realised["evidence"]:
        came = "Share of the answers whose labels came."
        yield _gauge("label_coverage_ratio", came, value=realised["evidence"]["coverage"])


def _decisions(connection: Connection) -> Iterator[Metric]:
    decision = store.decision.c
    ended = _counter("decisions", "Decisions carried out to their end.", "response", "status")
    retrained = _counter("retrainings", "Retrainings carried out to their end.", "status")
    waiting, retrainings = 0, {"done": 0, "failed": 0}
    for response, status, count in connection.execute(_counted(decision.response, decision.status)):
        if status == "open":
            waiting += count
            continue
        ended.add_metric([response, status], count)
        if response == "retrain":
            retrainings[status] = count
    for status, count in retrainings.items():
        retrained.add_metric([status], count)
    yield ended
    yield retrained
    yield _gauge("decisions_open", "Decisions that are being carried out.", value=waiting)
    last = connection.execute(sa.select(sa.func.max(decision.time)).where(decision.response == "retrain")).scalar()
    if last is not None:
        yield _gauge("last_retraining_timestamp_seconds", "Event time of the newest decision to retrain.", value=last)


def _rollouts(connection: Connection) -> Iterator[Metric]:
    rollout = store.rollout.c
    ended = _counter("rollouts", "Rollouts that ended, by how.", "status")
    counts = {row[0]: row[1] for row in connection.execute(_counted(rollout.status))}
    for status in ("promoted", "rolled_back", "expired"):  # a count that begins at 1 would never be seen to rise
        ended.add_metric([status], counts.get(status, 0))
    yield ended
    labels = ("rollout", "champion", "candidate", "status")
    share = _gauge("rollout_share_ratio", "Share of the requests that the candidate answers.", *labels)
    pairs = _gauge("rollout_pairs", "Paired labels that the rollout under way rests on.", *labels)
    began = _gauge("rollout_start_timestamp_seconds", "Event time at which the rollout under way began.", *labels)
    for row in connection.execute(sa.select(store.rollout).where(rollout.status.in_(ACTIVE))).mappings():
        values = [row["id"], row["champion"], row["candidate"], row["status"]]
        share.add_metric(values, row["state"]["share"])
        pairs.add_metric(values, row["state"].get("pairs", 0))
        began.add_metric(values, row["started"])
    yield from (share, pairs, began)


def _versions(connection: Connection) -> Iterator[Metric]:
    champion = _gauge("champion_info", "The version that serves.", "model", "version")
    alias = store.alias.c
    for model, version in connection.execute(sa.select(alias.model, alias.version).where(alias.name == "champion")):
        champion.add_metric([model, version], 1)
    yield champion
    versions = _gauge("model_versions", "Versions in the registry.", "stage")
    for stage, count in connection.execute(_counted(store.model_version.c.stage)):
        versions.add_metric([stage], count)
    yield versions
    data = store.data_version.c
    newest = sa.select(data.rows, data.end).order_by(data.created.desc()).limit(1)
    if row := connection.execute(newest).first():
        yield _gauge("data_version_rows", "Rows of the newest data version.", value=row[0])
        yield _gauge("data_version_end_timestamp_seconds", "Event time of the newest row in it.", value=row[1])
    runs = _counter("runs", "Runs of pipelines that ended.", "status")
    for status, count in connection.execute(_counted(store.run.c.status)):
        if status != "running":
            runs.add_metric([status], count)
    yield runs


def _events(connection: Connection) -> Iterator[Metric]:
    stored, waiting = dict.fromkeys((*_TYPES, "other"), 0), 0
    for kind, status, count in connection.execute(_counted(store.event.c.type, store.event.c.status)):
        stored[kind if kind in stored else "other"] += count
        waiting += count if status == "new" and kind in ASKED else 0
    events = _counter("events", "Events stored, by type.", "type")
    for kind, count in stored.items():
        events.add_metric([kind], count)
    yield events
    yield _gauge("commands_waiting", "Commands that no controller has carried out yet.", value=waiting)


def _counted(*columns: Any) -> sa.Select[Any]:
    return sa.select(*columns, sa.func.count()).group_by(*columns)


def _gauge(name: str, told: str, *labels: str, value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"everloop_{name}", told, value=value, labels=labels or None)


def _counter(name: str, told: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"everloop_{name}", told, labels=labels)
