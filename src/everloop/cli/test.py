"""`everloop test`: what a model must show before it is trusted, a line a check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["run_checks"]


def run_checks(
    version: Annotated[str | None, typer.Option(help="Default: the newest; before it, one trained for this.")] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Test code, learning, steps, answers and serving of a model; exit 1 where a check fails."""
    import msgspec

    from everloop.cli.output import Bar, show_json, show_table
    from everloop.loop.model_tests import examine_model
    from everloop.loop.workspace import opened

    with Bar() as bar, opened(project) as workspace:
        found = examine_model(workspace, version, bar.part)
    if json:
        show_json(msgspec.to_builtins(found))
    else:
        order = ("name", "result", "value", "bound", "why")
        rows = [{name: getattr(check, name) for name in order} for check in found.checks]
        show_table(f"Tests of {found.version or 'a model trained for them'}", rows)
        counts = [f"{sum(c.result == r for c in found.checks)} {r}" for r in ("passed", "failed", "skipped")]
        print(", ".join(counts))
    if found.failed:
        raise typer.Exit(1)
