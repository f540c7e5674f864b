"""What a replay showed, from the store's rows and the rows' losses: one JSON object, and the report's series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from everloop import registry, store
from everloop.evaluation import losses, main_metric, score
from everloop.loop.answering import answers_of
from everloop.loop.developing import ask_of
from everloop.loop.retraining import problem_of
from everloop.loop.workspace import Workspace
from everloop.replay.history import History
from everloop.replay.player import Played
from everloop.replay.schedules import MONTH, PHASES, WEEK, Calendar, Schedules, Scored
from everloop.rollouts import ACTIVE
from everloop.types import dated, show_time

__all__ = ["Alternative", "Comparison", "compare", "describe", "retrainings", "signals", "versions"]

Floats = NDArray[np.float64]


class Alternative(msgspec.Struct, frozen=True):
    """One way of keeping a model: what it is called, its losses by row, how often it retrained, on what."""

    name: str
    losses: Floats
    retrainings: int
    window: str = ""


class Comparison(msgspec.Struct, frozen=True):
    """The loop beside its alternatives on the same rows; `frozen` and `loop` come first."""

    metric: str
    alternatives: tuple[Alternative, ...]
    cost: float

    def value(self, losses: Floats) -> float:
        """Return the metric of losses: the root of their mean for `rmse`, else their mean."""
        mean = float(np.nanmean(losses))
        return float(np.sqrt(mean)) if self.metric == "rmse" else mean

    @property
    def losses(self) -> dict[str, Floats]:
        return {a.name: a.losses for a in self.alternatives}

    def values(self) -> dict[str, float]:
        """Return the metric by alternative."""
        return {a.name: self.value(a.losses) for a in self.alternatives}

    def table(self) -> list[dict[str, Any]]:
        """Return one row an alternative: its metric, retrainings and window; with a cost, its summed loss and cost."""
        rows = [
            {"name": a.name, self.metric: self.value(a.losses), "retrainings": a.retrainings, "window": a.window}
            for a in self.alternatives
        ]
        if self.cost:
            for row, a in zip(rows, self.alternatives, strict=True):
                row["loss_and_cost"] = float(np.nansum(a.losses)) + self.cost * a.retrainings
        return rows


def compare(
    workspace: Workspace,
    history: History,
    played: Played,
    progress: Callable[[int, int], None],
    *,
    calendars: Sequence[str] = ("weekly", "monthly", "calendar"),
) -> Comparison:
    """Return the loop beside the frozen first model and the calendars asked for (`calendar`: as often as the loop)."""
    settings, task = workspace.settings, history.schema.task
    truth = history.truth()
    count = len(retrainings(workspace))
    found = [
        Alternative("frozen", losses(task, truth, _frozen(workspace, history)), 0, "start"),
        Alternative("loop", losses(task, truth, played.answers), count, settings.training.window),
    ]
    schedules = Schedules(
        problem_of(history.schema, ask_of(workspace.settings, workspace.folder, first=False), workspace.folder),
        history,
        settings.replay,
    )
    plans = {name: plan for name, plan in _plans(history, count).items() if name in calendars and plan}
    total, done = sum(schedules.fits(plan) for plan in plans.values()), 0

    def on_fit() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    for name, plan in plans.items():
        scored = schedules.compare(plan, on_fit)
        found += [_alternative(f"{name}_all", scored.everything, "all"), _alternative(name, scored.best, scored.window)]
    return Comparison(main_metric(task), tuple(found), settings.replay.retraining_cost)


def _alternative(name: str, scored: Scored, window: str) -> Alternative:
    return Alternative(name, scored.losses, scored.retrainings, window)


def _plans(history: History, count: int) -> dict[str, list[Calendar]]:
    """Return the calendars: weekly, monthly, and one with as many retrainings as the loop's in four phases."""
    start, end = float(history.live_times[0]), float(history.live_times[-1])
    plans = {
        "weekly": [Calendar.every(WEEK, start, end)],
        "monthly": [Calendar.every(MONTH, start, end)],
    }
    if count:
        period = (end - start) / count
        plans["calendar"] = [Calendar.every(period, start, end, (k + 0.5) / PHASES) for k in range(PHASES)]
    return {name: [c for c in plan if c.times] for name, plan in plans.items()}


def _frozen(workspace: Workspace, history: History) -> Floats:
    """Return what the first model in production answers to every live row: its served graph, asked in one batch."""
    with workspace.store.read() as connection:
        versions = registry.list_versions(connection, workspace.name)
    first = next(v for v in versions if v["verdict"]["outcome"] == "pass")
    answers = answers_of(workspace.model(first["bundle"]), history.live, history.schema)
    return answers.reshape(len(answers)) if history.schema.task == "regression" else answers


def retrainings(workspace: Workspace) -> list[dict[str, Any]]:
    """Return each retraining after the first training: when, why, on which evidence, and what its rollout said."""
    decisions = workspace.store.rows(sa.select(store.decision).order_by(store.decision.c.number))
    rollouts = {r["decision"]: r for r in workspace.store.rows(sa.select(store.rollout))}
    told = []
    for row in (d for d in decisions if d["response"] == "retrain" and d["evidence"].get("signals")):
        outcome = row["evidence"].get("outcome", {})
        rollout = rollouts.get(row["id"])
        told.append(
            {
                "decision": row["id"],
                "time": show_time(row["time"]),
                "reason": row["reason"],
                "evidence": dated(row["evidence"]["signals"]),
                "version": outcome.get("version"),
                "verdict": _verdict(row, outcome, rollout),
                "because": _because(outcome, rollout),
            }
        )
    return told


def _verdict(decision: Mapping[str, Any], outcome: Mapping[str, Any], rollout: Mapping[str, Any] | None) -> str:
    if rollout:
        return "running" if rollout["status"] in ACTIVE else str(rollout["status"])
    if outcome.get("gate"):
        return "rejected"
    return str(decision["status"])


def _because(outcome: Mapping[str, Any], rollout: Mapping[str, Any] | None) -> str:
    if rollout:
        return str((rollout["verdict"] or {}).get("reason", ""))
    return str((outcome.get("gate") or {}).get("reason") or outcome.get("error", ""))


def versions(workspace: Workspace) -> list[dict[str, Any]]:
    """Return every version: its data, commit, window, metrics and gates."""
    with workspace.store.read() as connection:
        rows = registry.list_versions(connection, workspace.name)
    return [
        {
            "id": v["id"],
            "stage": v["stage"],
            "created": show_time(v["created"]),
            "data_version": v["data_version"],
            "commit": v["commit"],
            "window": v["window"],
            "metrics": v["metrics"],
            "gates": v["verdict"],
        }
        for v in rows
    ]


def signals(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the concept-drift signals, oldest first."""
    names = ("realised_loss", "challenger_gain")
    query = sa.select(store.signal).where(store.signal.c.name.in_(names)).order_by(store.signal.c.id)
    return workspace.store.rows(query)


def describe(workspace: Workspace, history: History, played: Played, compared: Comparison) -> dict[str, Any]:
    """Return what every replay's summary holds."""
    return {
        "versions": versions(workspace),
        "retrainings": retrainings(workspace),
        "metric": compared.metric,
        compared.metric: compared.values(),
        "alternatives": compared.table(),
        "loop_metrics": live_scores(history, played),
    }


def live_scores(history: History, played: Played) -> dict[str, float]:
    """Return every metric of the loop's answers over the live rows that were answered."""
    answered = ~np.isnan(played.answers if played.answers.ndim == 1 else played.answers[:, 0])
    return score(history.schema.task, history.truth()[answered], played.answers[answered])
