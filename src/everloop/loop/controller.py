"""The loop on one page: read what was journalled, look, decide with a reason, retrain, judge, roll out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop import registry
from everloop.checks import Check, Verdict
from everloop.data.sources import files
from everloop.errors import EverloopError, UsageError
from everloop.evaluation import losses
from everloop.inference import Model
from everloop.loop.calibrating import Calibration, Reference, follow, reference_of, rules_of
from everloop.loop.commands import APPROVE, DEPLOY, PROMOTE, RETRAIN, conclude
from everloop.loop.judging import check_strategy, judge, labelled
from everloop.loop.pipeline_versions import code_of
from everloop.loop.plans import current_plan, next_generation, publish, set_levels
from everloop.loop.records import (
    close_decision,
    load_state,
    newest_reason,
    open_decisions,
    record_decision,
    record_rollout,
    record_signals,
    save_state,
    trained_before,
)
from everloop.loop.succession import check_promotable, check_waiting, previous_champion
from everloop.loop.triggering import Triggering
from everloop.loop.watch import ScoredRow, Scorer, Watch, WatchState
from everloop.loop.workspace import Workspace
from everloop.monitoring import ConceptDrift, DriftRules, DriftState, LabelledRow, started
from everloop.rollouts import RolloutRules, RolloutState, begin
from everloop.rollouts import end as end_rollout
from everloop.settings import changed, seconds
from everloop.store import Connection
from everloop.training import newest_horizons
from everloop.triggers import TriggerState
from everloop.types import Decision, Event, Plan, Signal, as_json, new_id

__all__ = ["Controller", "ControllerState", "Developed"]

DRIFT_SIGNALS = ("realised_loss", "challenger_gain", "window_growth")
TRIAL = "recalibration is tried first"
FRUITLESS = 2
"""After so many retrainings in a row that were no better a person is asked."""


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
    inspection: dict[str, Any] = {}
    """What was found in its training table."""


class _Start(NamedTuple):
    """A version that is to serve: because of which decision and verdict, since when, and its drift baseline."""

    decision: str
    version: str
    verdict: Verdict
    baseline: Sequence[float]
    since: float


class ControllerState(msgspec.Struct):
    """All that a restart needs, stored in the transaction of the evaluation that changed it."""

    evaluated: float | None = None
    watch: WatchState = msgspec.field(default_factory=WatchState)
    drift: DriftState = msgspec.field(default_factory=DriftState)
    rollout: RolloutState | None = None
    rollout_id: str | None = None
    candidate_baseline: list[float] = []
    candidate_rows: list[LabelledRow] = []
    retrainings: list[float] = []
    fruitless: int = 0
    """Retrainings in a row whose candidate did not become champion."""
    calibration: Calibration = msgspec.field(default_factory=Calibration)
    held: str = ""
    loud: float | None = None
    """Since when a signal calls for something."""


class Controller:
    """Carries one project's loop; `step` is all it does, and it may be killed between any two lines of it."""

    def __init__(
        self,
        workspace: Workspace,
        watch: Callable[[WatchState], Watch],
        develop: Callable[[str, float, Mapping[str, Any]], Developed],
        condition: Check[TriggerState] | None,
        rules: RolloutRules,
        scorer: Callable[[], Scorer],
        *,
        block: float,
        interval: float,
        bounds: tuple[float, float] | None,
        approval: bool,
        training_time: Callable[[float], float],
        triggering: Triggering | None = None,
    ) -> None:
        """`develop(run, until, asked)` trains; `training_time(decided)` says from when its candidate takes part.

        `bounds` are those of recalibration, None where it is turned off.
        With `approval`, a version that passed its gate waits until a person approves it.
        """
        self._workspace, self._develop, self._condition = workspace, develop, condition
        self._rules, self._interval, self._ready = rules, interval, training_time
        self._approval, self._bounds = approval, bounds
        self._make_scorer, self._block = scorer, block
        self._triggering = triggering
        with workspace.store.read() as connection:
            self.state: ControllerState = load_state(connection, "controller", ControllerState)
        self._watch = watch(self.state.watch)
        self._scorer: Scorer | None = None
        self._drift: ConceptDrift | None = None

    def step(self, now: float) -> Plan | None:
        """Take all that was journalled before `now`, act on it, and return the plan that holds from now on."""
        self._finish_open()
        plan = publish(self._workspace)
        if plan is None:
            self._decide_first(now)
            self._finish_open()
            return publish(self._workspace)
        models = self._models(plan)
        self._watch.read(plan, models, self.scorer)
        if self.state.evaluated is None or now >= self.state.evaluated + self._interval:
            self._evaluate(now, plan)
            self._finish_open()
        self._take_events(now)
        return publish(self._workspace)

    def carry_out(self, event: Event, now: float) -> dict[str, Any]:
        """Do what a person asked for, once; returns what came of it, or an `error` where it cannot be done."""
        with self._workspace.store.begin() as connection:
            try:
                outcome = self._obey(connection, event, now)
            except UsageError as error:
                outcome = {"error": str(error)}
            conclude(connection, event.id, outcome)
            self._save(connection)
        self._finish_open()
        publish(self._workspace)
        return outcome

    def close(self) -> None:
        """Close what it reads; all that it decided is in the store."""
        self._watch.close()

    @property
    def scorer(self) -> Scorer:
        """How losses are computed: known once there is a model."""
        self._scorer = self._scorer or self._make_scorer()
        return self._scorer

    @property
    def rules(self) -> DriftRules:
        """The rules of the champion's detector, and of its level."""
        return rules_of(self.scorer.schema.task, self._block, self._bounds)

    @property
    def drift(self) -> ConceptDrift:
        """The detector over the champion's losses, with the state of the last evaluation."""
        if self._drift is None:
            scorer = self.scorer

            def loss(truth: NDArray[Any], answers: NDArray[np.float64]) -> NDArray[np.float64]:
                return losses(scorer.schema.task, truth, answers)

            self._drift = ConceptDrift(self.rules, loss, self.state.drift)
        return self._drift

    def _evaluate(self, now: float, plan: Plan) -> None:
        rows = self._watch.release(self.scorer)
        champion = plan.champion.version
        self.drift.update(labelled(row, champion) for row in rows if champion in row.losses)
        with self._workspace.store.begin() as connection:
            if self.state.rollout:
                self._judge(connection, self.state.rollout, rows, now)
            signals = [*self.drift.signals(now, self._watch.label_coverage), *self._growth(connection, now)]
            record_signals(connection, signals)
            if not self._recalibrate(connection, signals, now):
                self._decide(connection, signals, now)
            self._follow(connection, rows)
            self.state.evaluated = now
            self._save(connection)

    def _growth(self, connection: Connection, now: float) -> list[Signal]:
        """Say how far the rows since a change have grown: a champion of only the newest rows gains by twice as many.

        They begin with its window, and are held against those of the last retraining.
        """
        row = registry.get(connection, self._workspace.name, self._serving(connection))
        horizons, until = newest_horizons(row["window"]), float(row["window"]["until"])
        if not horizons:
            return []
        start = until - horizons * seconds(self._workspace.settings.training.horizon)
        grown = (now - start) / (max(until, *self.state.retrainings) - start)
        told = {"window": row["window"]["name"], "version": row["id"]}
        return [Signal("window_growth", now, grown, 2.0, grown >= 2.0, start, now, told)]

    def _serving(self, connection: Connection) -> str:
        champion = registry.alias(connection, self._workspace.name, "champion")
        assert champion is not None
        return champion

    def _judge(self, connection: Connection, rollout: RolloutState, rows: list[ScoredRow], now: float) -> None:
        """Advance the rollout under way by the new pairs, and act on its verdict."""
        share = rollout.share
        self.state.candidate_rows += judge(rollout, rows, self._watch, now, self._rules, self.scorer.schema.task)
        record_rollout(connection, rollout, now, id=self.state.rollout_id)
        if rollout.active:
            if rollout.share != share:
                next_generation(connection)
            return
        verdict = rollout.verdict
        if rollout.status == "promoted" and verdict is not None:
            self._promote(connection, rollout.candidate, verdict, now, archive=rollout.champion)
            self._watch_champion(self.state.candidate_baseline, rollout.started)
            self.drift.update(self.state.candidate_rows)
            self.state.fruitless = 0
        else:
            self._count_fruitless(connection, rollout.candidate, now)
            registry.set_stage(connection, self._workspace.name, rollout.candidate, "rejected", now)
            next_generation(connection)
            self.drift.rebase(self._watch.watermark)
        registry.drop_alias(connection, self._workspace.name, "candidate", now)
        self.state.rollout, self.state.rollout_id, self.state.candidate_rows = None, None, []

    def _recalibrate(self, connection: Connection, signals: list[Signal], now: float) -> bool:
        """Turn recalibration on where a level would gain, off where raw answers would: cheaper than a retraining."""
        firing, on = {s.name: s for s in signals if s.firing}, self.state.calibration.on
        signal = firing.get("raw_gain" if on else "challenger_gain")
        if self._bounds is None or signal is None or self.state.rollout:
            return False
        reason = "raw answers would lose less" if on else "a level fitted on the newest labels would lose less"
        told = f"{reason}: evidence {signal.value:.4g}"
        self._tell_recalibration(connection, not on, told, now, as_json(signal))
        self.drift.recalibrated(not on, now)
        return True

    def _tell_recalibration(
        self, connection: Connection, on: bool, reason: str, now: float, evidence: Mapping[str, Any]
    ) -> None:
        told = f"answers are {'corrected from now on' if on else 'no longer corrected'}: {reason}"
        evidence = {"on": on, "bounds": self._bounds, "evidence": evidence}
        record_decision(connection, Decision(now, "recalibrate", told, (), evidence), status="done")
        self.state.calibration.on = on

    def _follow(self, connection: Connection, rows: list[ScoredRow]) -> None:
        """Refresh the levels of the versions that serve by what was labelled since."""
        champion = registry.alias(connection, self._workspace.name, "champion")
        rollout = self.state.rollout
        serving = [v for v in (champion, rollout.candidate if rollout else None) if v]
        fresh = {v: [labelled(row, v) for row in rows if v in row.losses] for v in serving}
        until = self._watch.watermark or max((r.time for v in serving for r in self._known(v)), default=0.0)
        if follow(self.state.calibration, self.rules, fresh, until):
            set_levels(connection, self.state.calibration.levels)

    def _known(self, version: str) -> list[LabelledRow]:
        return self.state.calibration.rows.get(version, [])

    def _decide(self, connection: Connection, signals: list[Signal], now: float) -> None:
        """Ask the trigger's condition; store the decision with its reason, a hold only when its reason is new."""
        telling = [s for s in signals if s.firing and s.name in DRIFT_SIGNALS]
        if self._condition is None or not telling:
            self.state.held, self.state.loud = "", None
            return
        if self.state.loud is None:
            self.state.loud = now
            if self._bounds and not self.state.calibration.on:
                self.drift.restart_gains(now)  # from here on a level has its own trial
        known = TriggerState(
            now,
            {s.name: s for s in signals},
            tuple(self.state.retrainings),
            rollout=self.state.rollout_id,
            fruitless=self.state.fruitless,
        )
        verdict = self._condition(known)
        evidence = {"signals": [as_json(s) for s in telling], "condition": as_json(verdict)}
        if verdict.passed and (waits := self._level_first(telling, now)):
            verdict = msgspec.structs.replace(verdict, outcome="inconclusive", reason=waits)
        if verdict.passed:
            decision = Decision(now, "retrain", verdict.reason, (), evidence)
            record_decision(connection, decision, status="open", run=new_id(now))
            self.state.retrainings.append(now)
            self.drift.restart_gains(now)
            self.state.held = ""
        elif verdict.reason != self.state.held:
            record_decision(connection, Decision(now, "hold", verdict.reason, (), evidence), status="done")
            self.state.held = verdict.reason

    def _level_first(self, telling: Sequence[Signal], now: float) -> str | None:
        """Say why a retraining waits: a level is on trial, and repairs part of the rise so far."""
        rise = next((s.evidence for s in telling if s.name == "realised_loss"), None)
        rules, gains = self.rules, self.drift.state.gains
        if self._bounds is None or self.state.calibration.on or rise is None or rise["baseline"] is None:
            return None
        blocks = (now - (self.state.loud or now)) / self._block
        if blocks >= rules.memory + rules.minimum_blocks:
            return None
        if len(gains) < 2:
            return f"{TRIAL}: what it gains is not known yet" if blocks < rules.memory else None
        repaired = float(np.mean(gains[-2:])) / max(rise["loss"] - rise["baseline"], 1e-12)
        return f"{TRIAL}: it repairs part of the rise" if repaired > 0.1 else None

    def _take_events(self, now: float) -> None:
        """Answer what came from outside and what signals add up to: one retraining at a time, the rest waits for it."""
        acted: tuple[str, ...] | None = None
        while self._triggering and acted != ():
            known = TriggerState(now, {}, tuple(self.state.retrainings), rollout=self.state.rollout_id)
            answer = self._triggering.answer(known, self._watch.labels, self.state.evaluated)
            if answer is None:
                return
            with self._workspace.store.begin() as connection:
                acted = self._triggering.record(connection, answer)
                if acted:
                    self.state.retrainings.append(now)
                if "concept_drift" in acted:
                    self.drift.restart_gains(now)
                self._save(connection)
            self._finish_open()

    def _obey(self, connection: Connection, event: Event, now: float) -> dict[str, Any]:
        """Carry out a command in the transaction that concludes it; raises `UsageError` for what cannot be done."""
        model, reason = self._workspace.name, str(event.data.get("reason") or "a person asked for it")
        champion = registry.alias(connection, model, "champion")
        rollout = self.state.rollout
        if rollout and event.type in (RETRAIN, DEPLOY, APPROVE):
            raise UsageError(
                f"rollout {self.state.rollout_id} is being judged: promote {rollout.candidate}, or roll back"
            )
        if event.type == RETRAIN:
            evidence = {name: event.data[name] for name in ("set", "version") if event.data.get(name)}
            code_of(self._workspace, evidence.get("version"))  # what cannot run is refused now
            changed(self._workspace.settings, evidence.get("set", {}))
            asked = Decision(now, "retrain", reason, (event.id,), evidence)
            self.state.retrainings.append(now)
            return {"decision": record_decision(connection, asked, status="open", run=new_id(now))}
        if event.type in (DEPLOY, APPROVE):
            return self._start_asked(connection, event, champion, reason, now)
        if champion is None:
            raise UsageError("there is no champion yet: `everloop run` trains a version")
        verdict = Verdict("person", "pass" if event.type == PROMOTE else "fail", reason)
        if event.type == PROMOTE:
            version = str(event.data.get("version", ""))
            check_promotable(registry.get(connection, model, version), champion)
        elif rollout:
            version = champion
        else:
            version = previous_champion(connection, model, champion)
        if rollout:
            promoted = version == rollout.candidate
            end_rollout(rollout, "promoted" if promoted else "rolled_back", verdict)
            record_rollout(connection, rollout, now, id=self.state.rollout_id)
            if not promoted:
                registry.set_stage(connection, model, rollout.candidate, "rejected", now)
                next_generation(connection)
                self.drift.rebase(self._watch.watermark)
            registry.drop_alias(connection, model, "candidate", now)
            self.state.rollout, self.state.rollout_id, self.state.candidate_rows = None, None, []
        if version != champion:
            self._promote(connection, version, Verdict("person", "pass", reason), now, archive=champion)
            self._watch_champion(self._baseline(self._reference(connection, version)), now)
        response: Literal["promote", "roll_back"] = "promote" if event.type == PROMOTE else "roll_back"
        decision = Decision(now, response, reason, (event.id,), {"champion": version, "before": champion})
        return {"decision": record_decision(connection, decision, status="done"), "champion": version}

    def _start_asked(
        self, connection: Connection, event: Event, champion: str | None, reason: str, now: float
    ) -> dict[str, Any]:
        """Begin the rollout of a version that a person names: one that waits for approval, or any that passed."""
        row = registry.get(connection, self._workspace.name, str(event.data.get("version", "")))
        (check_waiting if event.type == APPROVE else check_promotable)(row, champion)
        rules = self._rules
        if strategy := event.data.get("strategy"):
            rules = check_strategy(msgspec.structs.replace(rules, strategy=str(strategy)))
        response: Literal["approve", "deploy"] = "approve" if event.type == APPROVE else "deploy"
        decision = record_decision(
            connection, Decision(now, response, reason, (event.id,), {"version": row["id"]}), status="done"
        )
        baseline = self._baseline(self._reference(connection, row["id"]))
        start = _Start(decision, row["id"], Verdict("person", "pass", reason), baseline, self._ready(now))
        return {"decision": decision, "version": row["id"]} | self._deploy(connection, start, rules)

    def _decide_first(self, now: float) -> None:
        """Train the first version by itself, once: when that one fails its gate, a person must look.

        Until there is data it asks for some, once.
        """
        lacks = files.lacks(self._workspace.settings.data.source, self._workspace.folder)
        with self._workspace.store.begin() as connection:
            if open_decisions(connection) or trained_before(connection):
                return
            told = "there is no model yet"
            if not lacks:
                record_decision(connection, Decision(now, "retrain", told), status="open", run=new_id(now))
                return
            told = f"{told}, and no data: {lacks}; `everloop data add FILE` brings some"
            if newest_reason(connection) != told:
                record_decision(connection, Decision(now, "ask", told), status="done")

    def _finish_open(self) -> None:
        """Carry out each open decision: once, even when a crash came between any two of its steps."""
        with self._workspace.store.read() as connection:
            waiting = open_decisions(connection)
        for decision in waiting:
            try:
                asked = {**decision["evidence"], "recalibrated": self.state.calibration.on}
                developed = self._develop(decision["run"], decision["time"], asked)
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
        outcome |= {"data": developed.inspection} if developed.inspection else {}
        if not developed.verdict.passed:
            registry.set_stage(connection, workspace.name, version, "rejected", time)
            self._count_fruitless(connection, version, time)
        elif self._approval:
            outcome["waits_for"] = "approval"
        else:
            start = _Start(decision["id"], version, developed.verdict, developed.baseline, self._ready(time))
            outcome |= self._deploy(connection, start, self._rules)
        close_decision(connection, decision["id"], "done", outcome)

    def _deploy(self, connection: Connection, start: _Start, rules: RolloutRules) -> dict[str, Any]:
        """Let a version serve, when it is the first, or begin its rollout; returns what became of it."""
        model, version, since = self._workspace.name, start.version, start.since
        champion = registry.alias(connection, model, "champion")
        if champion is None:
            self._promote(connection, version, start.verdict, since)
            self._watch_champion(start.baseline, since)
            self._approve_recalibration(connection, version, since)
            return {"champion": version}
        self._seed(version, self._reference(connection, version), since)
        rollout = begin(champion, version, since, rules)
        id = record_rollout(connection, rollout, since, decision=start.decision)
        if not rollout.active:
            assert rollout.verdict is not None
            self._promote(connection, version, rollout.verdict, since, archive=champion)
            self._watch_champion(start.baseline, since)
            return {"rollout": id, "champion": version}
        registry.set_alias(connection, model, "candidate", version, start.verdict, since)
        registry.set_stage(connection, model, version, "candidate", since)
        self.state.rollout, self.state.rollout_id = rollout, id
        self.state.candidate_baseline = list(start.baseline)
        next_generation(connection)
        return {"rollout": id}

    def _approve_recalibration(self, connection: Connection, version: str, since: float) -> None:
        """Let the first champion begin corrected where its own out-of-time rows show that correcting gains."""
        reference, calibration = self._reference(connection, version), self.state.calibration
        self._seed(version, reference, since)
        if self._bounds is None or reference.evidence < 1 / reference.rules.alpha:
            return
        reason = f"it gains on the out-of-time rows of {version}: evidence {reference.evidence:.4g}"
        self._tell_recalibration(connection, True, reason, since, {"value": reference.evidence})
        self._watch_champion(reference.levelled, since)
        until = max((r.time for r in calibration.rows[version]), default=since)
        if follow(calibration, reference.rules, {version: ()}, until):
            set_levels(connection, calibration.levels)

    def _seed(self, version: str, reference: Reference, since: float) -> None:
        """Let the level of a version begin with its out-of-time rows, where these are not too old to say anything."""
        memory = reference.rules.memory * reference.rules.block
        self.state.calibration.rows[version] = [r for r in reference.rows if r.time > since - 2 * memory]

    def _reference(self, connection: Connection, version: str) -> Reference:
        bundle = registry.get(connection, self._workspace.name, version)["bundle"]
        return reference_of(self._workspace.model(bundle), self._block, self._bounds)

    def _baseline(self, reference: Reference) -> list[float]:
        return reference.levelled if self.state.calibration.on else reference.baseline

    def _count_fruitless(self, connection: Connection, version: str, now: float) -> None:
        """Count a candidate that was no better; after some in a row say so to a person, and act more rarely."""
        self.state.fruitless += 1
        if self.state.fruitless == FRUITLESS:
            told = f"{FRUITLESS} retrainings in a row gave nothing better: look at their verdicts, and at the data"
            query = {"newest": version, "recalibrated": self.state.calibration.on}
            record_decision(connection, Decision(now, "ask", told, (), query), status="done")

    def _promote(
        self, connection: Connection, version: str, verdict: Verdict, now: float, archive: str | None = None
    ) -> None:
        model = self._workspace.name
        registry.set_alias(connection, model, "champion", version, verdict, now)
        registry.set_stage(connection, model, version, "production", now)
        if archive:
            registry.set_stage(connection, model, archive, "archived", now)
        next_generation(connection)

    def _watch_champion(self, baseline: Sequence[float], since: float) -> None:
        self.state.drift, self._drift = started(baseline, since, self._block), None
        self.state.drift.recalibrated = self.state.calibration.on

    def _models(self, plan: Plan) -> dict[str, Model]:
        self._workspace.keep_models({v.bundle for v in plan.variants})
        return {v.version: self._workspace.model(v.bundle) for v in plan.variants}

    def _save(self, connection: Connection) -> None:
        if self._drift is not None:
            self.state.drift = self._drift.state
        self.state.watch = self._watch.state
        save_state(connection, "controller", self.state)
