"""Decide on what came from outside, and on what signals and labels add up to: each answer is stored with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from everloop import git, registry, store
from everloop.errors import EverloopError
from everloop.loop.commands import conclude
from everloop.loop.dataset import RUN
from everloop.loop.records import load_state, record_decision, save_state
from everloop.loop.workspace import Workspace
from everloop.settings import Pushes, located
from everloop.store import Connection
from everloop.triggers import (
    LISTENED,
    PUSH,
    SENSED,
    Book,
    Final,
    Looked,
    Rule,
    Ruling,
    Sorted,
    TriggerState,
    decide,
    rearm,
    rules_of,
    see_signals,
    sort_events,
)
from everloop.types import Decision, Event, Signal, as_json, new_id

__all__ = ["Answer", "Triggering"]

COMMIT = re.compile(r"[0-9a-f]{7,64}")  # what git is asked about comes from outside
(INPUTS,) = LISTENED["data_drift"]
RETRY = 60.0
PATIENCE = 86_400.0  # after which a commit that cannot be seen is not waited for any more


class Answer(msgspec.Struct):
    """What is to be stored at once: events that end, a decision to act or reasons not to, and the book after it."""

    time: float
    sorted: Sorted
    rulings: list[Ruling]
    occurred: dict[str, Any]
    book: Book
    before: Book

    @property
    def acts(self) -> Ruling | None:
        """The ruling that starts a retraining."""
        return next((ruling for ruling in self.rulings if ruling.verdict.passed), None)


class Triggering:
    """One project's triggers; `answer` looks and decides, `record` stores it in the controller's transaction."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        with located(workspace.folder):
            self._rules: list[Rule] = rules_of(workspace.settings.triggers)
        self._looked: dict[str, tuple[float, str | None, Looked]] = {}

    def answer(self, known: TriggerState, labels: int, evaluated: float | None) -> Answer | None:
        """Return what is to be stored now, None where nothing is new; to be asked outside of any transaction.

        `known` holds the retrainings and the rollout; `labels` is how many there are, `evaluated` when signals were.
        """
        answer = self.weigh(known, labels, evaluated)
        return answer if self._is_new(answer) else None

    def weigh(
        self, known: TriggerState, labels: int, evaluated: float | None, events: Sequence[Event] | None = None
    ) -> Answer:
        """Return the answer to all that waits, new or not; to `events` instead, for which nothing is fetched."""
        settings = self._workspace.settings
        with self._workspace.store.read() as connection:
            before: Book = load_state(connection, "triggers", Book)
            waiting = _waiting(connection) if events is None else list(events)
            listens = any(set(rule.parts) & LISTENED.keys() for rule in self._rules) or before.spent
            signals = _signals(connection, self._workspace.name, evaluated) if listens else {}
        book = msgspec.convert(msgspec.to_builtins(before), Book)
        _count(book, labels, known.retrainings)
        rearm(settings.triggers, signals, book)
        fetch, ids = events is None, {event.id for event in waiting}
        self._looked = {id: found for id, found in self._looked.items() if id in ids}
        looked = {e.id: self._look(e, book, known.time, fetch) for e in waiting if e.type == PUSH}
        found = sort_events(waiting, looked, settings, book, self._prefix(waiting))
        seen = see_signals(settings.triggers, signals, labels, book, known.time)
        state = msgspec.structs.replace(
            known,
            signals=signals,
            occurrences=found.occurrences | seen,
            last=book.last,
            spent=tuple(book.spent),
        )
        return Answer(known.time, found, decide(self._rules, state), state.occurrences, book, before)

    def record(self, connection: Connection, answer: Answer) -> tuple[str, ...]:
        """Store an answer; returns the triggers behind the retraining that it starts, if it does."""
        book, acted = answer.book, tuple[str, ...]()
        for final in answer.sorted.finals:
            _end(connection, answer, final)
        book.commits |= answer.sorted.passed
        if waits := answer.occurred.get("push"):
            _hold(connection, answer, "push", waits.reason, waits.reason, waits.events, {})
        for ruling in answer.rulings:
            if ruling.verdict.passed:
                acted = _act(connection, answer, ruling)
            else:
                _hold_ruling(connection, answer, ruling)
        save_state(connection, "triggers", book)
        return acted

    def _look(self, event: Event, book: Book, now: float, fetch: bool) -> Looked:
        """Ask git about a push: once for each answer given on its branch, and each minute while it cannot be seen."""
        answered = book.commits.get(str(event.data.get("branch", "")))
        tried, before, looked = self._looked.get(event.id, (float("-inf"), None, Looked()))
        if before == answered and (now - tried < RETRY or (tried > float("-inf") and not looked.missing)):
            return looked
        looked = _look_at_push(self._workspace, event, book, fetch)
        if looked.missing and now - event.time > PATIENCE:
            looked = msgspec.structs.replace(looked, given_up=True)
        self._looked[event.id] = (now, answered, looked)
        return looked

    def _prefix(self, waiting: Sequence[Event]) -> str:
        pushed = any(event.type == PUSH for event in waiting)
        folder = self._workspace.folder
        return git.prefix(folder) if pushed and git.is_repository(folder) else ""

    def _is_new(self, answer: Answer) -> bool:
        if (
            answer.sorted.finals
            or answer.acts
            or msgspec.to_builtins(answer.book) != msgspec.to_builtins(answer.before)
        ):
            return True
        held = answer.book.held
        waits = answer.occurred.get("push")
        if waits and held.get("push", ("",))[0] != waits.reason:
            return True
        return any(held.get(r.rule.name, ("",))[0] != _key(answer, r) for r in answer.rulings)


def _look_at_push(workspace: Workspace, event: Event, book: Book, fetch: bool) -> Looked:
    """Return what git knows of a push; with `fetch`, what is not here yet is brought."""
    folder, branch, commit = workspace.folder, str(event.data.get("branch", "")), str(event.data.get("commit", ""))
    watched = [t for n in ("code", "repository_data") if isinstance(t := workspace.settings.triggers.of(n), Pushes)]
    remote = next((t.remote for t in watched if t.branch == branch), None)
    if remote is None:
        return Looked()
    if not COMMIT.fullmatch(commit):
        return Looked(missing=f"{commit[:40]!r} is no commit", given_up=True)
    before = str(event.data.get("before", ""))
    try:
        if not git.is_repository(folder):
            return Looked(missing=f"{folder} is not under git")
        if fetch and not git.has(folder, commit):
            git.fetch(folder, remote, branch)
        if not git.has(folder, commit):
            return Looked(missing=f"commit {commit[:10]} is not in the repository")
        return _compare(workspace, commit, before if COMMIT.fullmatch(before) else "", book.commits.get(branch))
    except EverloopError as error:
        return Looked(missing=str(error))


def _compare(workspace: Workspace, commit: str, before: str, answered: str | None) -> Looked:
    """Compare a commit with the one of its branch that was answered last, else with the one before the push.

    A push that goes on from what was answered is news, also where it goes back (a branch that was reset).
    """
    folder = workspace.folder
    base = next((c for c in (answered, before) if c and git.has(folder, c)), None)
    if answered and base == answered and before != answered and git.contains(folder, answered, commit):
        return Looked(contained=True)
    if commit == base:
        return Looked(contained=True)
    paths = tuple(git.changed(folder, base, commit))
    made = git.messages(folder, base, commit) if base else []
    return Looked(paths, own=bool(made) and all(f"\n{RUN}: " in message for message in made))


def _waiting(connection: Connection) -> list[Event]:
    columns = [store.event.c[name] for name in Event.__struct_fields__]
    query = sa.select(*columns).where(store.event.c.status == "new", store.event.c.type.in_(SENSED))
    rows = connection.execute(query.order_by(store.event.c.time, store.event.c.id)).mappings()
    return [Event(**row) for row in rows]


def _signals(connection: Connection, model: str, evaluated: float | None) -> dict[str, Signal]:
    """Return the controller's signals of the last evaluation, and the monitor's newest on the champion's inputs."""
    table, champion = store.signal.c, registry.alias(connection, model, "champion")
    ours = table.name.in_(LISTENED["concept_drift"]) & (table.time == evaluated)
    inputs = (table.name >= INPUTS) & (table.name < f"{INPUTS};")  # and `data_drift:column`
    newest = table.id.in_(sa.select(sa.func.max(table.id)).where(inputs).group_by(table.name))
    query = sa.select(*(table[name] for name in Signal.__struct_fields__)).where(ours | newest)
    rows = connection.execute(query).mappings()
    found = [Signal(**{**row, "firing": bool(row["firing"])}) for row in rows]
    return {s.name: s for s in found if s.name in LISTENED["concept_drift"] or s.evidence.get("version") == champion}


def _count(book: Book, labels: int, retrainings: Sequence[float]) -> None:
    """Start counting labels anew where a retraining was started since, whatever started it."""
    last = max(retrainings, default=0.0)
    if book.labels is None or last > book.retrained:
        book.labels, book.retrained = labels, last


def _act(connection: Connection, answer: Answer, ruling: Ruling) -> tuple[str, ...]:
    book, time = answer.book, answer.time
    events, evidence = _behind(answer, ruling.triggers)
    evidence |= {"triggers": list(ruling.triggers), "condition": as_json(ruling.verdict)}
    decision = Decision(time, "retrain", ruling.verdict.reason, events, evidence)
    id = record_decision(connection, decision, status="open", run=new_id(time))
    for event in events:
        conclude(connection, event, {"decision": id})
    book.last |= dict.fromkeys(ruling.triggers, time)
    book.spent = sorted({*book.spent, *(name for name in ruling.triggers if name in LISTENED)})
    book.objects |= {one["url"]: one["etag"] for one in evidence.get("objects", ())}
    if push := evidence.get("push"):
        book.commits[push["branch"]] = push["commit"]
    book.held.pop(ruling.rule.name, None)
    return ruling.triggers


def _end(connection: Connection, answer: Answer, final: Final) -> None:
    """Conclude events that start nothing; a reason that was told last is not told again."""
    id = _hold(connection, answer, final.trigger, final.reason, final.reason, final.events, {})
    for event in final.events:
        conclude(connection, event, {"decision": id})


def _hold_ruling(connection: Connection, answer: Answer, ruling: Ruling) -> None:
    seen = [name for name in ruling.rule.parts if name in answer.occurred]
    events, evidence = _behind(answer, seen)
    evidence |= {"triggers": seen, "condition": as_json(ruling.verdict)}
    told = "; ".join(answer.occurred[name].reason for name in seen)
    reason = f"{told}: {ruling.verdict.reason}"
    _hold(connection, answer, ruling.rule.name, _key(answer, ruling), reason, events, evidence)


def _hold(
    connection: Connection,
    answer: Answer,
    name: str,
    key: str,
    reason: str,
    events: Sequence[str],
    evidence: Mapping[str, Any],
) -> str:
    known = answer.book.held.get(name)
    if known and known[0] == key:
        return known[1]
    told = {"triggers": [name]} | dict(evidence)
    id = record_decision(connection, Decision(answer.time, "hold", reason, tuple(events), told), status="done")
    answer.book.held[name] = (key, id)
    return id


def _key(answer: Answer, ruling: Ruling) -> str:
    """Return what makes a reason a new one: numbers that move with each look do not."""
    events, _ = _behind(answer, [name for name in ruling.rule.parts if name in answer.occurred])
    return "; ".join([ruling.verdict.reason, *events])


def _behind(answer: Answer, triggers: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the events and the evidence of what triggers saw."""
    events, evidence = list[str](), dict[str, Any]()
    for name in triggers:
        if seen := answer.occurred.get(name):
            events += seen.events
            evidence |= seen.evidence
    return tuple(dict.fromkeys(events)), evidence
