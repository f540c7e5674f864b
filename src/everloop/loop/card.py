"""The card of a version: what it is for, what it is worth, where it fails, where it comes from; from the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from everloop import registry
from everloop.bundles import Manifest
from everloop.data.versions import get as data_version
from everloop.loop.document import Part, markdown, page
from everloop.loop.evaluating import Evaluated, evaluate_version, version_of
from everloop.loop.evaluation_page import judged_on
from everloop.loop.evaluation_page import parts as evaluation_parts
from everloop.loop.version_report import conditions_of, decision_of
from everloop.loop.workspace import Workspace
from everloop.settings import Card as Said
from everloop.types import Column, dated, show_time

__all__ = ["Card", "card_of", "card_page", "card_text"]


class Card(msgspec.Struct, frozen=True):
    """All that stands on a card: what a person `said`, rows of the store, the signed manifest and the evaluation."""

    said: Said
    target: str
    version: dict[str, Any]
    aliases: list[str]
    data: dict[str, Any]
    decision: Mapping[str, Any] | None
    manifest: Manifest
    key: str
    evaluated: Evaluated

    def as_told(self) -> dict[str, Any]:
        """Return it as JSON values, with times as text."""
        told: dict[str, Any] = dated(msgspec.to_builtins(msgspec.structs.asdict(self) | {"evaluated": None}))
        return told | {"evaluated": self.evaluated.as_told()}


def card_of(workspace: Workspace, id: str | None = None) -> Card:
    """Return the card of a version, by default the champion, else the newest."""
    row = version_of(workspace, id)
    bundle = workspace.model(row["bundle"]).bundle
    with workspace.store.read() as connection:
        named = [
            name for name in ("champion", "candidate") if registry.alias(connection, workspace.name, name) == row["id"]
        ]
        data, decision = data_version(connection, row["data_version"]), decision_of(connection, row["run"])
    done = evaluate_version(workspace, row["id"])
    said = workspace.settings.card
    target = workspace.settings.data.target
    return Card(said, target, dict(row), named, dict(data), decision, bundle.manifest, bundle.key, done)


def card_page(card: Card) -> str:
    """Return the card as one HTML page without outside reference."""
    return page(_title(card), _intro(card), _parts(card))


def card_text(card: Card) -> str:
    """Return the card as Markdown."""
    return markdown(_title(card), _intro(card), _parts(card))


def _title(card: Card) -> str:
    return f"{card.evaluated.model} {card.evaluated.version}"


def _intro(card: Card) -> list[str]:
    status = " and ".join(card.aliases) or card.version["stage"]
    return [f"Model card, {status}, registered {show_time(card.version['created'])[:16].replace('T', ' ')}."]


def _parts(card: Card) -> Iterator[Part]:
    yield Part("Use", [_use(card)])
    yield Part("What goes in, what comes out", [_columns(card.manifest)])
    yield Part("Data and training", [_facts(_training(card))])
    first, *rest = evaluation_parts(card.evaluated.evaluation)
    yield Part(first.title, [judged_on(card.evaluated.evaluation), *first.blocks])
    yield from rest
    yield Part("Gate", [_gate(card)])
    yield Part("Limits", list(_limits(card)))
    yield Part("Lineage", [_facts(_lineage(card))])
    yield Part("Signature", [_facts(_signature(card))])


def _use(card: Card) -> list[dict[str, Any]]:
    unsaid = "not said: set [card] {}"
    said = {"for": card.said.use or unsaid.format("use"), "not for": card.said.not_for or unsaid.format("not_for")}
    return _facts(
        {
            "task": f"{card.manifest.task} of {card.target}{_classes(card.manifest)}",
            **said,
            "who answers for it": card.said.owner or unsaid.format("owner"),
        }
    )


def _classes(manifest: Manifest) -> str:
    return f", {len(manifest.classes)} classes: {', '.join(map(str, manifest.classes))}" if manifest.classes else ""


def _columns(manifest: Manifest) -> list[dict[str, Any]]:
    rows = [("in", column) for column in manifest.inputs] + [("out", column) for column in manifest.outputs]
    return [{"": way, "column": c.name, "type": c.dtype, "kind": c.kind, "values": _values(c)} for way, c in rows]


def _values(column: Column) -> str:
    if column.shape:
        return " x ".join(map(str, column.shape))
    known = [str(one) or "(empty)" for one in column.categories or ()]
    return ", ".join(known[:8]) + (f", and {len(known) - 8} more" if len(known) > 8 else "")


def _training(card: Card) -> dict[str, Any]:
    window, data = card.version["window"], card.data
    dated = f", {show_time(data['start'])[:10]} to {show_time(data['end'])[:10]}"
    return {
        "data": f"{data['id']}, {data['rows']:,} rows{dated if card.evaluated.evaluation.block else ''}",
        "source": data["origin"],
        "content": data["artifact"],
        "trained on": window.get("reason", "all of it"),
    }


def _gate(card: Card) -> list[dict[str, Any]]:
    verdict = card.version["verdict"] or {"check": "gates", "outcome": "inconclusive", "reason": "it has no verdict"}
    return [{"condition": p["check"], "verdict": p["outcome"], "why": p["reason"]} for p in conditions_of(verdict)]


def _limits(card: Card) -> Iterator[str]:
    """Give what a reader must know, a sentence each: first what a person said, then what the evidence shows."""
    found = card.evaluated.evaluation
    yield from card.said.limits
    if found.block:
        span = f"{show_time(found.start)[:10]} to {show_time(found.end)[:10]}"
        yield f"Nothing is known of it outside of the time it was judged on, {span}."
    else:
        yield f"Nothing is known of it on rows unlike the {found.rows:,} newest, on which it was judged."
    for one in found.slices:
        if one.worse:
            yield f"Where {one.name} it loses {one.ratio.value:.3g} times as much as on all rows."
    covered = found.calibration.coverage
    if covered and covered.covered.high is not None and covered.covered.high < 0.9:
        yield f"Its errors grew: where 90 % of the older ones lay, {covered.covered.value:.0%} of the newer ones do."
    outcome = card.decision["evidence"].get("outcome", {}) if card.decision else {}
    for told in outcome.get("data", {}).get("told", ()):
        yield f"Of its data: {told}."
    if (verdict := card.version["verdict"]) and verdict["outcome"] != "pass":
        yield f"It does not pass its gate: {verdict['reason']}."


def _lineage(card: Card) -> dict[str, Any]:
    decision = card.decision
    told = {"run": card.version["run"], "commit of the code": card.version["commit"] or "none"}
    if decision:
        told["decision"] = f"{decision['id']}: {decision['reason']}"
    return told | {"more": f"everloop lineage {card.version['id']}"}


def _signature(card: Card) -> dict[str, Any]:
    files = {f"SHA-256 of {name}": digest for name, digest in card.manifest.files.items()}
    return {"signed by key": card.key, "verified": "every byte, when this card was made", **files}


def _facts(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"fact": name, "value": value} for name, value in told.items()]
