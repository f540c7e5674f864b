"""What all verbs that ask for something share: progress while it is carried out, then what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["carry_out", "values_of"]


def carry_out(project: Path, type: str, asked: dict[str, Any], json: bool, explain_cache: bool = False) -> None:
    """Ask, show what happens meanwhile, and print what came of it; with `explain_cache` why each step was computed."""
    from everloop import git
    from everloop.cli.output import Bar, show_json, show_table
    from everloop.loop.asking import ask
    from everloop.loop.commands import RETRAIN
    from everloop.loop.tracking import tracked
    from everloop.types import dated

    with Bar() as bar, contextlib.ExitStack() as beside:
        if type == RETRAIN:
            beside.enter_context(tracked(project, bar.line))
        if type == RETRAIN and (commit := git.describe(project) or "").endswith("-dirty"):
            bar.line(f"note: the code has changes that no commit holds: the version will name {commit[:10]}-dirty")
        bar.part(type.removeprefix("everloop."))
        outcome = ask(
            project,
            type,
            asked,
            lambda line: bar.line(f"{line.kind:<9} {line.text}"),
            lambda step: bar.part(step.step),
        )
    if explain_cache:
        outcome["cache"] = _steps(project, outcome["decision"])
    if json:
        show_json(dated(outcome))
    else:
        if explain_cache:
            show_table("Steps", outcome["cache"])
        for note in outcome.get("data", {}).get("told", ()):
            print(f"note: {note}")
        print(f"{outcome['decision']}: {_told(outcome)}")


def values_of(texts: Sequence[str] | None) -> dict[str, Any]:
    """Return what `--set NAME=VALUE` says; a value is what TOML reads, else text."""
    import tomllib

    from everloop.errors import UsageError

    values: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {text!r}: write NAME=VALUE")
        try:
            values[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = value
    return values


def _steps(project: Path, decision: str) -> list[dict[str, Any]]:
    """Return what the cache had of each step of a decision's run, and why not."""
    import msgspec

    from everloop.loop.trail import cache_of
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        return [msgspec.to_builtins(one) for one in cache_of(workspace, decision)]


def _told(outcome: Mapping[str, Any]) -> str:
    """Return what came of it in a clause."""
    version = outcome.get("version")
    if "gate" in outcome and outcome["gate"]["outcome"] != "pass":
        return f"{version} is registered, but its gate does not pass: {outcome['gate']['reason']}"
    if outcome.get("waits_for"):
        return f"{version} passed its gate and waits: `everloop approve {version}`"
    if outcome.get("champion"):
        return f"{outcome['champion']} is the champion"
    return f"{version} is judged beside the champion (rollout {outcome.get('rollout')})"
