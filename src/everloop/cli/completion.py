"""What a shell offers for an argument: read from the project in the folder where the person types."""

from __future__ import annotations

__all__ = ["templates", "versions"]


def templates() -> list[str]:
    """Return the names of the templates."""
    from everloop.loop.projects import templates

    return templates()


def versions() -> list[str]:
    """Return the versions of the project in this folder; none where there is no project."""
    from pathlib import Path

    from everloop.errors import EverloopError
    from everloop.loop.trail import listing
    from everloop.loop.workspace import opened

    try:
        with opened(Path()) as workspace:
            return [str(row["id"]) for row in listing(workspace, "version")]
    except EverloopError:
        return []
