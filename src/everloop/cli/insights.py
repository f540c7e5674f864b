"""What `everloop evaluate --responsible-ai` does: insights of Microsoft's toolbox saved, and shown on its dashboard."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from everloop.loop.responsible_ai import Insights

__all__ = ["insights"]


def insights(version: str | None, project: Path, folder: Path, port: int | None, json: bool) -> None:
    """Save insights, and show them where a port is given; those that are saved already are only shown."""
    from everloop.cli.output import Bar
    from everloop.errors import UsageError
    from everloop.loop.responsible_ai import save_insights, saved_insights, serve_insights
    from everloop.loop.workspace import opened

    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(Bar())
        if port is not None and folder.is_dir() and any(folder.iterdir()):
            found = saved_insights(folder)
            if version not in (None, found.version):
                raise UsageError(f"{folder} holds insights of {found.version}, not of {version}: name another folder")
        else:
            with opened(project) as workspace:
                found = save_insights(workspace, version, folder, bar.part)

        def done(url: str | None = None) -> None:
            stack.close()  # the bar's work is over
            _show(found, folder, url, json)

        if port is None:
            done()
        else:
            serve_insights(folder, port, done, bar.part)


def _show(found: Insights, folder: Path, url: str | None, json: bool) -> None:
    import msgspec

    from everloop.cli.output import show_json

    if json:
        show_json({"folder": str(folder), "url": url} | msgspec.to_builtins(found))
    else:
        print(f"{found.model} {found.version}: {found.rows:,} of the {found.judged:,} rows that it was judged on")
        for name, rows in found.covered.items():
            print(f"  {name.replace('_', ' ')} of {rows:,} rows")
        for name, reason in found.left_out.items():
            print(f"  no {name}: {reason}")
        print("note: it was fitted again on these rows before it serves, so the errors shown are too small")
        print(f"insights: {folder}")
        print(f"dashboard at {url}, until Ctrl-C" if url else "dashboard: --serve with the same folder", flush=True)
