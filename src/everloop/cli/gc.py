"""`everloop gc`: artifacts that nothing needs any more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["gc"]


def gc(
    older: Annotated[str, typer.Option(help="Remove what was used last so long ago.")] = "30d",
    size: Annotated[str | None, typer.Option(help="Remove more until so much is left, such as 2GB.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove artifacts of old runs; never what a version that serves or may serve was made of."""
    import time

    import msgspec

    from everloop.cli.output import show_json
    from everloop.errors import UsageError
    from everloop.loop.garbage import collect
    from everloop.loop.workspace import opened
    from everloop.settings import seconds
    from everloop.settings import size as bytes_of

    try:
        before, most = time.time() - seconds(older), bytes_of(size) if size else None
    except ValueError as error:
        raise UsageError(f"--older, --size: {error}") from None
    with opened(project) as workspace:
        found = collect(workspace, before, most, remove=not dry_run)
    if json:
        show_json(msgspec.to_builtins(found))
    else:
        print(f"{found.artifacts} artifacts of {found.bytes / 1e6:,.1f} MB {'would go' if dry_run else 'removed'}")
