"""A version beside its champion as Markdown, for a pull request: metrics, the gate's reasons, data, links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from everloop import registry, store
from everloop.data.versions import get as data_version
from everloop.errors import UsageError
from everloop.loop.document import plain
from everloop.loop.pipeline_versions import versions as pipeline_versions
from everloop.loop.workspace import Workspace
from everloop.types import show_time

__all__ = ["conditions_of", "decision_of", "render_report", "rival_of"]

_OPEN = ("shadow", "canary")


def render_report(workspace: Workspace, version: str | None = None) -> str:
    """Return the report of a version (by default the newest), from the registry's rows alone.

    Its first line is a comment that names the project, by which an earlier report is found again.
    """
    with workspace.store.read() as connection:
        row = registry.get(connection, workspace.name, version) if version else _newest(connection, workspace.name)
        champion = rival_of(connection, workspace.name, row["id"])
        data = data_version(connection, row["data_version"])
        decision, rollout = decision_of(connection, row["run"]), _rollout(connection, row["id"])
    pipeline = next((p["id"] for p in pipeline_versions(workspace) if p["commit"] == row["commit"]), None)
    verdict = row["verdict"] or {"outcome": "inconclusive", "reason": "it has no verdict"}
    told = {"pass": "passes its gate", "fail": "fails its gate"}.get(verdict["outcome"], "does not pass its gate")
    return "\n".join(
        [
            f"<!-- everloop report: {plain(workspace.name)} -->",
            f"## {row['id']} of {plain(workspace.name)} {told}",
            "",
            *_metrics(row, champion),
            *_conditions(verdict),
            *_facts(row, data, _span(data) if workspace.settings.data.time else "", decision, rollout, pipeline),
            f"More: `everloop show {row['id']}`, `everloop lineage {row['id']}`"
            + (f", `everloop show {decision['id']}`" if decision else ""),
            "",
        ]
    )


def _metrics(row: Mapping[str, Any], champion: Mapping[str, Any] | None) -> Iterator[str]:
    """Tell each metric beside the champion's, which was measured on the champion's own out-of-time rows."""
    theirs = champion["metrics"] if champion else {}
    named = f"champion {champion['id']}" if champion else "champion (none)"
    yield from (f"| metric | {row['id']} | {named} | difference |", "|---|---:|---:|---:|")
    for name, value in row["metrics"].items():
        other = theirs.get(name)
        beside = ("-", "-") if other is None else (f"{other:.4g}", f"{value - other:+.4g}")
        yield f"| {name} | {value:.4g} | {' | '.join(beside)} |"
    yield ""
    if champion:
        yield "Each was measured out of time when it was trained; on the same rows the two are compared by the gate:"
        yield ""


def _conditions(verdict: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| condition | verdict | why |", "|---|---|---|")
    for part in conditions_of(verdict):
        yield f"| {plain(part.get('check', 'gate'))} | {part['outcome']} | {plain(part['reason'])}{_gain(part)} |"
    yield ""


def conditions_of(verdict: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give the conditions that a verdict is made of."""
    for part in verdict.get("parts") or ():
        yield from conditions_of(part)
    if not verdict.get("parts"):
        yield verdict


def _gain(part: Mapping[str, Any]) -> str:
    """Return the interval of the loss that the candidate saves, where one was computed."""
    found = part.get("evidence", {})
    if "interval" not in found:
        return ""
    low, high = found["interval"]
    return f"; loss lower by {found['gain']:.4g} (95 %: {low:.4g} to {high:.4g})"


def _span(data: Mapping[str, Any]) -> str:
    start, end = (show_time(data[name])[:10] for name in ("start", "end"))
    return f", {start} to {end}"


def _facts(
    row: Mapping[str, Any],
    data: Mapping[str, Any],
    span: str,
    decision: Mapping[str, Any] | None,
    rollout: Mapping[str, Any] | None,
    pipeline: str | None,
) -> Iterator[str]:
    window = row["window"]
    yield f"- data: {data['id']}, {data['rows']:,} rows{span}"
    yield f"- trained on: {plain(window.get('name', 'all of it'))}: {plain(window.get('reason', ''))}"
    yield f"- code: {row['commit'] or 'no commit'}{f', {pipeline}' if pipeline else ''}; run {row['run']}"
    if decision:
        yield f"- decision: {decision['id']}, {plain(decision['reason'])}"
    if rollout:
        share = f", {rollout['state']['share']:.0%} of the traffic" if rollout["status"] in _OPEN else ""
        yield f"- rollout: {rollout['id']}, {rollout['status'].replace('_', ' ')}{share}"
    else:
        yield f"- rollout: none; the version is {row['stage']}"
    yield ""


def _newest(connection: store.Connection, model: str) -> dict[str, Any]:
    found = registry.latest(connection, model)
    if found is None:
        raise UsageError("there is no version to report on yet: `everloop run` trains the first")
    return found


def rival_of(connection: store.Connection, model: str, version: str) -> dict[str, Any] | None:
    """Return whom a version was to beat: the champion when it was registered, as the registry's changes tell it."""
    told = sa.select(store.outbox.c.kind, store.outbox.c.payload).where(
        store.outbox.c.kind.in_(("alias", "model_version"))
    )
    champion = None
    for kind, payload in connection.execute(told.order_by(store.outbox.c.id)):
        if payload["model"] != model:
            continue
        if kind == "alias" and payload["name"] == "champion":
            champion = payload["version"]
        elif kind == "model_version" and (payload["change"], payload["id"]) == ("registered", version):
            break
    return registry.get(connection, model, champion) if champion else None


def decision_of(connection: store.Connection, run: str) -> Mapping[str, Any] | None:
    """Return the decision that a run was made for."""
    row = connection.execute(sa.select(store.decision).where(store.decision.c.run == run)).mappings().first()
    return dict(row) if row else None


def _rollout(connection: store.Connection, version: str) -> Mapping[str, Any] | None:
    query = sa.select(store.rollout).where(store.rollout.c.candidate == version)
    row = connection.execute(query.order_by(store.rollout.c.started.desc()).limit(1)).mappings().first()
    return dict(row) if row else None
