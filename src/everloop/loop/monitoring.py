"""The monitor: reads the journal, judges windows of it, and stores what it found with its offset and its state."""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from everloop import store
from everloop.journal import Position, Reader, Record
from everloop.loop.commands import CLOCK
from everloop.loop.hidden import HiddenLayer
from everloop.loop.lease import lease
from everloop.loop.monitored import Batches, cut_of, reference_of
from everloop.loop.plans import current_plan
from everloop.loop.records import load_state, record_signals, save_state
from everloop.loop.schemas import schema_of
from everloop.loop.watch import Scorer
from everloop.loop.workspace import Workspace, opened
from everloop.monitoring import (
    Cutter,
    Detector,
    ExplanationDrift,
    RealisedState,
    RealisedWindows,
    Window,
    labelled,
    unlabelled,
)
from everloop.settings import seconds
from everloop.types import Feedback, Signal, Variant

__all__ = ["LEASE", "MONITOR", "Monitor", "MonitorState", "run_monitor"]

_log = logging.getLogger("everloop.monitor")
MONITOR, LEASE = "monitor", "monitor.lease"
POLL, WAIT, MOST = 0.5, 2.0, 20_000
_feedback = msgspec.json.Decoder(Feedback)


class MonitorState(msgspec.Struct):
    """All that a restart needs, stored in the transaction of the signals that came of it."""

    version: str = ""
    position: Position = Position(0, 0)
    cutter: Cutter | None = None
    explained: Cutter | None = None
    detectors: dict[str, dict[str, Any]] = {}
    realised: RealisedState = msgspec.field(default_factory=RealisedState)
    looked: float = float("-inf")
    newest: float = 0.0
    labelled: float = 0.0
    rows: int = 0


class Monitor:
    """Watches the champion of one project; `step` is all it does, and it may be killed anywhere in it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._settings = workspace, workspace.settings.monitoring
        with workspace.store.read() as connection:
            self.state: MonitorState = load_state(connection, MONITOR, MonitorState)
        self._reader = Reader(workspace.journal)
        self._reader.seek(self.state.position)
        self._unlabelled: list[Detector] = []
        self._explaining: list[Detector] = []
        self._labelled: list[Detector] = []
        self._ready = ""

    def step(self, now: float) -> list[Signal]:
        """Take what was journalled before `now`, store and return the signals of the windows that closed."""
        plan = current_plan(self._workspace)
        if plan is None:
            return []
        if self._ready != plan.champion.version:
            self._begin(plan.champion)
        found: list[Signal] = []
        while self._read(found):
            self._store(found)
        for cutter, detectors in ((self._cutter, self._unlabelled), (self._explained, self._explaining)):
            if closed := cutter.close(now):
                self._look(detectors, closed, found)
        self._realised_until(now, found)
        if now >= self.state.looked + seconds(self._settings.interval):
            look = Window(now, now, newest=self.state.newest, labelled=self.state.labelled)
            self._look(self._unlabelled, look, found)
            self.state.looked = now
        return self._store(found)

    def close(self) -> None:
        """Close the journal's reader; all that was found is in the store."""
        self._reader.close()

    @property
    def _all(self) -> list[Detector]:
        return [*self._unlabelled, *self._explaining, *self._labelled]

    def _begin(self, champion: Variant) -> None:
        """Watch a champion: with the stored state where it is the same one, else from its reference on."""
        workspace, cut = self._workspace, cut_of(self._settings)
        model = workspace.model(champion.bundle)
        workspace.keep_models({champion.bundle})
        self._scorer = Scorer(schema_of(workspace))
        layer = HiddenLayer.of(model)
        reference, which, metric = reference_of(workspace, model, self._scorer, layer)
        detectors = unlabelled(reference, cut)
        self._explaining = [d for d in detectors if isinstance(d, ExplanationDrift)]
        self._unlabelled = [d for d in detectors if not isinstance(d, ExplanationDrift)]
        self._labelled = labelled(reference, cut, which, metric)
        self._batches = Batches(reference.columns, champion.version, self._scorer, layer)
        if self.state.version != champion.version:
            self.state.version, self.state.detectors = champion.version, {}
            self.state.realised, self.state.cutter, self.state.explained = RealisedState(), None, None
        for detector in self._all:
            if detector.name in self.state.detectors:
                detector.restore(self.state.detectors[detector.name])
        self._cutter = self.state.cutter or Cutter(cut.length, cut.count)
        self._explained = self.state.explained or Cutter(cut.length, cut.count)
        coverage = workspace.settings.deployment.minimum_coverage
        length = cut.length or seconds(self._settings.block)
        self._realised = RealisedWindows(length, coverage, self.state.realised)
        self._ready = champion.version

    def _read(self, found: list[Signal]) -> bool:
        """Take a batch of the journal; returns whether there may be more.

        The collector of cycles is off meanwhile: a batch has none, and searching its lists for some takes longer
        than reading it.
        """
        gc.disable()
        try:
            return self._take(found)
        finally:
            gc.enable()

    def _take(self, found: list[Signal]) -> bool:
        records: list[Record] = []
        rows = 0
        while rows < MOST and (more := self._reader.batch()):
            records += more
            rows += len(more)
        predictions = [r for r in records if r.kind == "prediction"]
        explanations = [r for r in records if r.kind == "explanation"]
        labels = [_feedback.decode(r.payload) for r in records if r.kind == "feedback"]
        if predictions:
            batch, times = self._batches.of(predictions, self._realised)
            self.state.newest = max(self.state.newest, batch.newest)
            self.state.rows += batch.rows
            for part in self._cutter.cut(batch, times):
                self._look(self._unlabelled, part, found)
        for part in self._explained.cut(*self._batches.explained(explanations)):
            self._look(self._explaining, part, found)
        for label in labels:
            self.state.labelled = max(self.state.labelled, label.time)
            truth = self._scorer.truth(label.value)
            if truth is not None:
                self._realised.labelled(label.prediction, label.row, truth)
        if labels:
            self._realised_until(self.state.newest, found)
        return rows >= MOST

    def _realised_until(self, now: float, found: list[Signal]) -> None:
        for window, truth, answers in self._realised.closed(now):
            self._look(self._labelled, self._batches.labelled(window, truth, answers), found)

    def _look(self, detectors: list[Detector], window: Window, found: list[Signal]) -> None:
        held = {"version": self.state.version}  # whose reference it is that rows are held against
        told = (detector.update(window) for detector in detectors)
        found += [msgspec.structs.replace(s, evidence=s.evidence | held) for s in told if s is not None]

    def _store(self, found: list[Signal]) -> list[Signal]:
        """Store signals, offset and state in one transaction; nothing is written while nothing happened."""
        if not found and self.state.position == self._reader.position:
            return []
        state = self.state
        state.position, state.realised = self._reader.position, self._realised.state
        state.cutter, state.explained = self._cutter, self._explained
        state.detectors = {d.name: d.state() for d in self._all}
        with self._workspace.store.begin() as connection:
            record_signals(connection, found)
            save_state(connection, MONITOR, state)
        stored = list(found)
        found.clear()
        return stored


def run_monitor(folder: Path, clock: Literal["wall", "event"]) -> None:
    """Monitor the project in `folder` until SIGTERM or SIGINT; raises `BusyError` beside another monitor."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with opened(folder) as workspace:
        workspace.log_as("monitor")
        place = workspace.path(workspace.settings.storage.lease).parent / LEASE
        with lease(place, "monitor"):
            monitor = Monitor(workspace)
            try:
                firing: set[str] = set()
                while not stop.is_set():
                    _log_changes(monitor.step(_now(workspace, clock)), firing)
                    stop.wait(POLL)
            finally:
                monitor.close()


def _log_changes(signals: Iterable[Signal], firing: set[str]) -> None:
    """Log where a monitor begins to fire and where it is quiet again; `firing` are those that fire so far."""
    for told in signals:
        if told.firing == (told.name in firing):
            continue
        firing ^= {told.name}
        moment = datetime.fromtimestamp(told.time, UTC).isoformat(timespec="minutes")
        said = "fires" if told.firing else "is quiet again"
        about = {"signal": told.name, "value": told.value, "time": told.time}
        _log.info(
            "%s %s: %.4g against %.4g at %s", told.name, said, told.value, told.threshold, moment,
            extra={"everloop": about},
        )  # fmt: skip


def _now(workspace: Workspace, clock: Literal["wall", "event"]) -> float:
    """Return the time up to which all is journalled: two seconds ago, or the replay's newest clock event."""
    if clock == "wall":
        return time.time() - WAIT
    newest = sa.select(sa.func.max(store.event.c.time).label("now")).where(store.event.c.type == CLOCK)
    return workspace.store.rows(newest)[0]["now"] or float("-inf")
