"""How verbs talk: a progress bar on a terminal and log lines otherwise, on stderr; results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from everloop.errors import UsageError

__all__ = ["Bar", "show_json", "show_record", "show_replay", "show_table", "write_out"]


def write_out(path: Path, content: str | bytes) -> None:
    """Write what was asked for into a file; raises UsageError where that place holds none."""
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror}): name a file in a folder that is there"
        ) from error


PIPED = 200  # columns of a table that goes into a file or a pipe


class Bar:
    """A progress bar from `with` to its end; where nobody watches, a line at each new part and each tenth of it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description:<11}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self._console, transient=True, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)
        self._name, self._tenth = "", -1

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def part(self, name: str) -> None:
        """Begin a part of the work."""
        if name != self._name:
            self._name, self._tenth = name, -1
            self._bar.reset(self._task, description=name, total=None)
            if self._bar.disable:
                self.line(name)

    def progress(self, done: int, total: int) -> None:
        """So much of the part is done; a total of 0 is unknown."""
        self._bar.update(self._task, completed=done, total=total or None)
        if self._bar.disable and total and done * 10 // total > self._tenth:
            self._tenth = done * 10 // total
            self.line(f"{self._name} {done} of {total}")

    def line(self, text: str) -> None:
        """Say one line above the bar."""
        if self._console.is_terminal:
            self._console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)


def show_json(value: Any) -> None:
    """Print one JSON object."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def show_replay(summary: Mapping[str, Any]) -> None:
    """Print a replay's retrainings, and the loop beside its alternatives."""
    told = [
        {"decided": r["time"][:16].replace("T", " ")} | {f: r[f] for f in ("version", "verdict", "because")}
        for r in summary["retrainings"]
    ]
    show_table("Retrainings", told)
    show_table("The same rows, kept right by", summary["alternatives"])


def show_record(record: Mapping[str, Any], indent: int = 0) -> None:
    """Print one thing, a line a field; what lies in it stands indented."""
    width = max((len(name) for name in record), default=0) + 2
    for name, value in record.items():
        label = f"{'  ' * indent}{name.replace('_', ' '):<{width}}"
        if isinstance(value, Mapping) and value:
            print(label.rstrip())
            show_record(value, indent + 1)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for item in value:
                print(label.rstrip())
                show_record(item, indent + 1)
        else:
            shown = "-" if value in (None, {}, []) else _cell(value)
            print(f"{label}{shown}")


def show_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table; numbers stand right, with four digits."""
    if not rows:
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(highlight=False, width=None if sys.stdout.isatty() else PIPED).print(table, markup=False)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
