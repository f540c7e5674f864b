"""What every source keeps: each row once, in steps of any size, over a break, and no secret in what is told."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.data.sources.places import MAKERS, PASSWORD, VARIABLE, Place, Row, environment, feast, feast_repository
from tests.databases import postgresql_server

from everloop.data.sources.opening import opened_source
from everloop.data.staging import Staged
from everloop.errors import EverloopError, UsageError
from everloop.settings import Source


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return feast_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(params=[*MAKERS, pytest.param("feast", marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Return each place, empty; a first look at it has been taken."""
    needs = {"postgresql": ["server"], "feast": ["repository"]}.get(request.param, [])
    also = [request.getfixturevalue(name) for name in needs]
    with (MAKERS | {"feast": feast})[request.param](tmp_path, *also) as place:
        assert take(place, Staged(tmp_path / "staged")) == 0
        yield place


def settings(place: Place, **changes: Any) -> Source:
    return msgspec.convert(tomllib.loads(place.keys) | changes, Source)


def take(place: Place, staged: Staged, limit: int = 1000, chunks: int = 1000, password: str = PASSWORD) -> int:
    """Stage what is new, and stop where `chunks` are staged, as a killed process does; returns the rows in it."""
    before = staged.rows
    with opened_source(
        settings(place), "shop", "toy", staged.folder, {VARIABLE: password}, "time", environment
    ) as source:
        with closing(source.read(staged.cursor, limit)) as found:  # type: ignore[type-var]
            for chunk in found:
                staged.add(chunk.rows, chunk.cursor)
                chunks -= 1
                if not chunks:
                    break
    return staged.rows - before


def rows(start: int, end: int) -> list[Row]:
    return [
        {"id": i, "time": f"2024-01-01T00:{i // 60:02}:{i % 60:02}Z", "a": i / 3, "b": 0.25, "hour": i % 24, "y": i / 7}
        for i in range(start, end)
    ]


def ids(staged: Staged) -> list[int]:
    return sorted(int(row["id"]) for row in staged.all())


def test_each_row_comes_once_with_its_values(place: Place, tmp_path: Path) -> None:
    staged = Staged(tmp_path / "staged")
    place.put(rows(0, 30))
    assert take(place, staged) == 30
    assert take(place, staged) == 0
    place.put(rows(30, 35))
    assert take(place, Staged(tmp_path / "staged")) == 5  # what is known lies on disk
    found = sorted(Staged(tmp_path / "staged").all(), key=lambda row: int(row["id"]))
    assert found == rows(0, 35)


def test_a_limit_is_kept_or_told_to_be_none(place: Place, tmp_path: Path) -> None:
    staged = Staged(tmp_path / "staged")
    place.put(rows(0, 12))
    place.put(rows(12, 30))
    steps = [take(place, staged, limit=12) for _ in range(4)]
    assert ids(staged) == list(range(30))
    assert steps in ([12, 12, 6, 0], [12, 18, 0, 0], [30, 0, 0, 0])  # rows, whole files, or all pages of an API


@pytest.mark.parametrize("chunks", [1, 2])
def test_what_breaks_off_goes_on_where_rows_are_safe(place: Place, tmp_path: Path, chunks: int) -> None:
    place.put(rows(0, 10))
    place.put(rows(10, 50))
    take(place, Staged(tmp_path / "staged"), chunks=chunks)
    with (tmp_path / "staged" / "rows.jsonl").open("ab") as file:
        file.write(b'{"id": 7, "half')  # the process was killed while it wrote
    staged = Staged(tmp_path / "staged")
    take(place, staged)
    assert ids(staged) == list(range(50))


def test_no_secret_is_told(place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if VARIABLE not in place.keys:
        pytest.skip("this place has no password here")
    wrong = "wr@ng/p:ss #2"
    with caplog.at_level(logging.DEBUG), pytest.raises(EverloopError) as caught:
        take(place, Staged(tmp_path / "staged"), password=wrong)
    told = f"{caught.value!r} {caught.value} {caplog.text}"
    assert wrong not in told
    assert "wr%40ng" not in told
    assert "[data.sources.shop]" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=f"needs the environment variable {VARIABLE}, which is not set"):
        with opened_source(settings(place), "shop", "toy", tmp_path, {}):
            pass
