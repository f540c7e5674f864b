"""The file of seals itself: no line of it can be changed, removed, moved or made by somebody else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.bundles import SigningKey, trusted
from everloop.errors import CheckError
from everloop.journal.chain import Tip
from everloop.journal.seals import FILE, Checkpoint, Dropped, Erasure, Place, add, alone, read
from everloop.journal.segments import Position


def made(folder: Path) -> SigningKey:
    """Write three seals, one of each kind."""
    key = SigningKey.create(folder / "keys")
    with alone(folder):
        add(folder, key, Checkpoint(time=1.0, tip=Tip(Position(1, 500), 4, "00" * 32)))
        add(folder, key, Erasure(time=2.0, reason="asked", ids=1, places=[Place(3, 1, 300, 100)]))
        add(folder, key, Dropped(time=3.0, tip=Tip(Position(1, 200), 2, "11" * 32), before=1.0))
    return key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seals")
    made(folder)
    return folder


def test_what_they_say(folder: Path) -> None:
    seals = read(folder, trusted(folder / "keys"))
    assert [type(s) for s in seals.statements] == [Checkpoint, Erasure, Dropped]
    assert (seals.start.number, seals.newest.number) == (2, 4)
    assert list(seals.marks) == [4]
    assert seals.erased == {3: Place(3, 1, 300, 100)}


@settings(max_examples=200)
@given(data=st.data())
def test_any_change_is_found(folder: Path, data: st.DataObject) -> None:
    path = folder / FILE
    good = path.read_bytes()
    place = data.draw(st.integers(0, len(good) - 2))  # without its end the last line was never finished
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != good[place]))
    try:
        path.write_bytes(good[:place] + bytes([byte]) + good[place + 1 :])
        with pytest.raises(CheckError):
            read(folder, trusted(folder / "keys"))
    finally:
        path.write_bytes(good)


def test_removed_moved_and_foreign_lines_are_found(folder: Path, tmp_path: Path) -> None:
    path = folder / FILE
    good = path.read_bytes()
    first, second, third = good.splitlines(keepends=True)
    try:
        for lines in ([second, third], [first, third], [second, first, third], [first, first, second, third]):
            path.write_bytes(b"".join(lines))
            with pytest.raises(CheckError, match="does not follow the line before it"):
                read(folder, trusted(folder / "keys"))
        path.write_bytes(good)
        made(tmp_path)
        with pytest.raises(CheckError, match=r"was signed by the key '.*', which is not trusted here"):
            read(folder, trusted(tmp_path / "keys"))
        path.write_bytes(good.replace(b'"reason":"asked"', b'"reason":"other"'))
        with pytest.raises(CheckError, match="line 2 was changed: its signature is not that of key"):
            read(folder, trusted(folder / "keys"))
    finally:
        path.write_bytes(good)


def test_a_line_that_a_crash_cut_is_none_and_the_next_one_takes_its_place(tmp_path: Path) -> None:
    key = made(tmp_path)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes() + b'{"type":"checkpoint","time":4.0')
    assert len(read(tmp_path, trusted(tmp_path / "keys")).statements) == 3
    with alone(tmp_path):
        add(tmp_path, key, Checkpoint(time=5.0, tip=Tip(Position(2, 10), 5, "22" * 32)))
    assert read(tmp_path, trusted(tmp_path / "keys")).newest.number == 5
    assert all(msgspec.json.decode(line) for line in path.read_bytes().splitlines())
