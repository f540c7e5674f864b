"""The loop on one page: read what was journalled, look, decide with a reason, retrain, judge, roll out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from everloop import registry
from everloop.checks import Check, Verdict
from everloop.errors import EverloopError
from everloop.loop.plans import current_plan, next_generation, publish
from everloop.loop.records import (
    close_decision,
    load_state,
    open_decisions,
    record_decision,
    record_rollout,
    record_signals,
    save_state,
)
from everloop.loop.watch import ScoredRow, Watch, WatchState
from everloop.loop.workspace import Workspace
from everloop.monitoring import ConceptDrift, DriftState
from everloop.rollouts import Pair, RolloutRules, RolloutState, advance, begin
from everloop.store import Connection
from everloop.triggers import TriggerState
from everloop.types import Decision, Plan, Signal, as_json, new_id

__all__ = ["Controller", "ControllerState", "Developed"]


class Developed(msgspec.Struct, frozen=True):
    """What a run of the retraining pipeline gave: a registrable bundle, its gate verdict, its drift baseline."""

    run: str
    bundle: str
    sha256: str
    data_version: str
    commit: str | None
    window: dict[str, Any]
    metrics: dict[str, float]
    verdict: Verdict
    baseline: tuple[float, ...]
    """Means of its out-of-time losses by block: what the drift detector holds the live losses against."""


class ControllerState(msgspec.Struct):
    """All that a restart needs, stored in the transaction of the evaluation that changed it."""

    evaluated: float | None = None
    watch: WatchState = msgspec.field(default_factory=WatchState)
    drift: DriftState = msgspec.field(default_factory=DriftState)
    rollout: RolloutState | None = None
    rollout_id: str | None = None
    candidate_baseline: list[float] = []
    retrainings: list[float] = []
    held: str = ""


class Controller:
    """Carries one project's loop; `step` is all it does, and it may be killed between any two lines of it."""

    def __init__(
        self,
        workspace: Workspace,
        watch: Callable[[WatchState], Watch],
        develop: Callable[[str, float], Developed],
        condition: Check[TriggerState] | None,
        rules: RolloutRules,
        *,
        interval: float,
        training_time: Callable[[float], float],
    ) -> None:
        """`develop(run, until)` trains; `training_time(decided)` says from when its candidate takes part."""
        self._workspace, self._develop, self._condition = workspace, develop, condition
        self._rules, self._interval, self._ready = rules, interval, training_time
        with workspace.store.read() as connection:
            self.state: ControllerState = load_state(connection, "controller", ControllerState)
        self._watch = watch(self.state.watch)
        self._drift = ConceptDrift(self.state.drift)

    def step(self, now: float) -> Plan | None:
        """Take all that was journalled before `now`, act on it, and return the plan that holds from now on."""
        self._finish_open(now)
        plan = publish(self._workspace)
        if plan is None:
            self._decide_first(now)
            self._finish_open(now)
            return publish(self._workspace)
        self._watch.read(plan, self._models(plan))
        if self.state.evaluated is None or now >= self.state.evaluated + self._interval:
            self._evaluate(now, plan)
            self._finish_open(now)
        return publish(self._workspace)

    def _evaluate(self, now: float, plan: Plan) -> None:
        rows = self._watch.release()
        champion = plan.champion.version
        self._drift.update((row.time, row.losses[champion]) for row in rows if champion in row.losses)
        signals = [*self._drift.signals(now, self._watch.label_coverage), *self._watch.data_drift(now)]
        with self._workspace.store.begin() as connection:
            if self.state.rollout:
                self._judge(connection, rows, now)
            record_signals(connection, signals)
            self._decide(connection, signals, now)
            self.state.evaluated = now
            self._save(connection)

    def _judge(self, connection: Connection, rows: list[ScoredRow], now: float) -> None:
        """Advance the rollout under way by the new pairs, and act on its verdict."""
        rollout = self.state.rollout
        assert rollout is not None
        share = rollout.share
        pairs = [
            Pair(row.time, row.losses[rollout.champion], row.losses[rollout.candidate])
            for row in rows
            if rollout.champion in row.losses and rollout.candidate in row.losses
        ]
        advance(rollout, pairs, self._watch.watermark, now, self._rules)
        record_rollout(connection, rollout, now, id=self.state.rollout_id)
        if rollout.active:
            if rollout.share != share:
                next_generation(connection)
            return
        model, verdict = self._workspace.name, rollout.verdict
        assert verdict is not None
        if rollout.status == "promoted":
            self._promote(connection, rollout.candidate, verdict, now, archive=rollout.champion)
            self._drift.start(self.state.candidate_baseline, rollout.candidate_losses)
        else:
            registry.set_stage(connection, model, rollout.candidate, "rejected")
            next_generation(connection)
        self.state.rollout, self.state.rollout_id = None, None

    def _decide(self, connection: Connection, signals: list[Signal], now: float) -> None:
        """Ask the trigger's condition; store the decision with its reason, a hold only when its reason is new."""
        drift = next((s for s in signals if s.name == "concept_drift"), None)
        if self._condition is None or drift is None or not drift.firing:
            self.state.held = ""
            return
        known = TriggerState(
            now, {s.name: s for s in signals}, tuple(self.state.retrainings), rollout=self.state.rollout_id
        )
        verdict = self._condition(known)
        evidence = {"signal": as_json(drift), "condition": as_json(verdict)}
        if verdict.passed:
            decision = Decision(now, "retrain", verdict.reason, (new_id(now),), evidence)
            record_decision(connection, decision, status="open", run=new_id(now))
            self.state.retrainings.append(now)
            self.state.held = ""
        elif verdict.reason != self.state.held:
            record_decision(connection, Decision(now, "hold", verdict.reason, (), evidence), status="done")
            self.state.held = verdict.reason

    def _decide_first(self, now: float) -> None:
        with self._workspace.store.begin() as connection:
            if not open_decisions(connection):
                decision = Decision(now, "retrain", "there is no model yet")
                record_decision(connection, decision, status="open", run=new_id(now))

    def _finish_open(self, now: float) -> None:
        """Carry out each open decision: once, even when a crash came between any two of its steps."""
        with self._workspace.store.read() as connection:
            waiting = open_decisions(connection)
        for decision in waiting:
            try:
                developed = self._develop(decision["run"], decision["time"])
            except EverloopError as error:
                with self._workspace.store.begin() as connection:
                    close_decision(connection, decision["id"], "failed", {"error": str(error)})
                if current_plan(self._workspace) is None:
                    raise  # nothing to serve: a person must look
                continue
            with self._workspace.store.begin() as connection:
                self._admit(connection, decision, developed)
                self._save(connection)

    def _admit(self, connection: Connection, decision: dict[str, Any], developed: Developed) -> None:
        """Register what was developed; a passed gate makes it champion (the first) or a rollout's candidate."""
        workspace, time = self._workspace, decision["time"]
        version = registry.register(
            connection,
            model=workspace.name,
            bundle=developed.bundle,
            sha256=developed.sha256,
            run=developed.run,
            data_version=developed.data_version,
            window=developed.window,
            metrics=developed.metrics,
            commit=developed.commit,
            verdict=developed.verdict,
            time=time,
        )
        outcome = {"version": version, "gate": as_json(developed.verdict), "window": developed.window}
        champion = registry.alias(connection, workspace.name, "champion")
        if not developed.verdict.passed:
            registry.set_stage(connection, workspace.name, version, "rejected")
        elif champion is None:
            self._promote(connection, version, developed.verdict, time)
            self._drift.start(list(developed.baseline), None)
        else:
            self._roll_out(connection, decision, champion, version, developed, outcome)
        close_decision(connection, decision["id"], "done", outcome)

    def _roll_out(
        self,
        connection: Connection,
        decision: dict[str, Any],
        champion: str,
        version: str,
        developed: Developed,
        outcome: dict[str, Any],
    ) -> None:
        started = self._ready(decision["time"])
        rollout = begin(champion, version, started, self._rules)
        outcome["rollout"] = record_rollout(connection, rollout, started, decision=decision["id"])
        if not rollout.active:
            assert rollout.verdict is not None
            self._promote(connection, version, rollout.verdict, started, archive=champion)
            self._drift.start(list(developed.baseline), rollout.candidate_losses)
            return
        registry.set_alias(connection, self._workspace.name, "candidate", version, developed.verdict, started)
        registry.set_stage(connection, self._workspace.name, version, "candidate")
        self.state.rollout, self.state.rollout_id = rollout, outcome["rollout"]
        self.state.candidate_baseline = list(developed.baseline)
        next_generation(connection)

    def _promote(
        self, connection: Connection, version: str, verdict: Verdict, now: float, archive: str | None = None
    ) -> None:
        model = self._workspace.name
        registry.set_alias(connection, model, "champion", version, verdict, now)
        registry.set_stage(connection, model, version, "production")
        if archive:
            registry.set_stage(connection, model, archive, "archived")
        next_generation(connection)

    def _models(self, plan: Plan) -> dict[str, Any]:
        self._workspace.keep_models({v.bundle for v in plan.variants})
        return {v.version: self._workspace.model(v.bundle) for v in plan.variants}

    def _save(self, connection: Connection) -> None:
        self.state.drift, self.state.watch = self._drift.state, self._watch.state
        save_state(connection, "controller", self.state)
