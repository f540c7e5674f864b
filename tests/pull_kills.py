"""Kills a pull with `kill -9` at one point after another, and pulls again: each row must be there once.

The points are those of `tests.kills`, and around each chunk that is staged. `python -m tests.pull_kills FOLDER PLACE
EVERY` prints one JSON line a point.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.data.sources.places import MAKERS, PASSWORD, VARIABLE, Place, Row
from tests.kills import Points, in_child, make_mortal
from tests.projects import history, write_project

from everloop import git
from everloop import store as tables
from everloop.data import dvc
from everloop.data.sources import files, kafka, sql
from everloop.data.staging import Staged
from everloop.loop.pulling import Pulled, pull
from everloop.loop.workspace import opened

EACH = 24
NOW = 1_900_000_000.0


def project_for(place: Place, folder: Path, extra: str = "") -> Path:
    """Write a project under git and DVC that pulls from a place."""
    write_project(folder)
    (folder / "data" / "history.csv").unlink()
    (folder / ".gitignore").write_text("/.everloop/\n")
    text = (folder / "everloop.toml").read_text().replace("[triggers]\n", "[triggers]\nsources = true\n")
    (folder / "everloop.toml").write_text(f"{text}\n{extra}\n[data.sources.shop]\n{place.keys}\n")
    git.start(folder)
    dvc.start(folder)
    git.commit_files(folder, ["."], "start")
    return folder


def numbered(start: int, end: int) -> list[Row]:
    """Return the rows of a history, each with its number."""
    table = history()
    table.insert(0, "id", range(len(table)))
    found: list[Row] = table[start:end].to_dict("records")  # type: ignore[assignment]
    return found


def pulled(folder: Path) -> list[Pulled]:
    """Pull until nothing is new."""
    found = list[Pulled]()
    with opened(folder) as workspace:
        while (one := pull(workspace, "shop", NOW)).rows:
            found.append(one)
    return found


def state(folder: Path, put: int) -> dict[str, Any]:
    """Return which of the rows that were put are lost or there twice, and what else must fit."""
    known = dvc.Repository(folder, "data")
    there = sorted(path.name for path in (folder / "data").glob("*.csv"))
    with opened(folder) as workspace:
        events = workspace.store.rows(sa.select(tables.event.c.data))
    ids = Counter(files.read("data/*.csv", folder)["id"].tolist())
    return {
        "lost": sorted({*range(put)} - ids.keys()),
        "twice": sorted(id for id, count in ids.items() if count > 1 or id >= put),
        "unversioned": sorted({*there} ^ {*known.versioned()}),
        "told": sorted({*there} ^ {event["data"]["file"] for event in events}) if len(events) == len(there) else events,
        "open": git.run(folder, "status", "--porcelain") + ("changed" if known.changed() else ""),
    }


RIGHT = {"lost": [], "twice": [], "unversioned": [], "told": [], "open": ""}


def mortal(folder: Path) -> list[str]:
    """Pull, reach a point around each thing that is made sure, and return the points."""
    make_mortal()
    add = Staged.add

    def mortal_add(self: Staged, rows: Sequence[Row], cursor: dict[str, Any] | None) -> None:
        Points.reach("before a chunk")
        add(self, rows, cursor)
        Points.reach("after a chunk")

    Staged.add = mortal_add  # type: ignore[method-assign]
    pulled(folder)
    return list(Points.passed)


def dies(folder: Path, point: int) -> None:
    """Pull until a point, and not beyond."""
    Points.death = point
    mortal(folder)


def resumed(folder: Path, put: int) -> dict[str, Any]:
    """Pull after a kill, and return what is there then."""
    pulled(folder)
    return state(folder, put)


def main(root: Path, kind: str, every: int) -> None:
    """Print the points of a pull that lives, then what is there after a kill at each `every`th and another pull."""
    os.environ[VARIABLE] = PASSWORD
    kafka.CHUNK = sql.CHUNK = 10
    root.mkdir()
    with MAKERS[kind](root) as place:
        folder = project_for(place, root / "project")
        _, nothing = in_child(lambda: len(pulled(folder)))
        assert nothing == 0, nothing
        place.put(numbered(0, EACH))
        if kind == "sqlite":
            kill_the_first(folder, root)
        _, points = in_child(lambda: mortal(folder))
        print(json.dumps({"points": points, "after": in_child(lambda: state(folder, EACH))[1]}), flush=True)
        for count, number in enumerate(range(1, len(points) + 1, every), 1):
            put = count * EACH + EACH
            place.put(numbered(count * EACH, put))
            died, _ = in_child(lambda at=number: dies(folder, at))  # type: ignore[misc]
            _, after = in_child(lambda there=put: resumed(folder, there))  # type: ignore[misc]
            print(json.dumps({"name": points[number - 1], "died": died, "after": after}), flush=True)


def kill_the_first(base: Path, root: Path) -> None:
    """Print what is there after kills around the commands of the first batch, which writes the schema too."""
    alive = shutil.copytree(base, root / "alive")
    _, points = in_child(lambda: mortal(alive))
    for number in (n for n, name in enumerate(points, 1) if "command" in name):
        folder = shutil.copytree(base, root / f"first-{number}")
        died, _ = in_child(lambda at=number, place=folder: dies(place, at))  # type: ignore[misc]
        _, after = in_child(lambda place=folder: resumed(place, EACH))  # type: ignore[misc]
        print(json.dumps({"name": f"first {points[number - 1]}", "died": died, "after": after}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
