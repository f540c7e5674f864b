from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everloop.journal.segments import Position, end, last_line, make, path_of, repair, segments, whole

LINES = st.lists(st.sampled_from([0, 1, 5, 65534, 65535, 65536, 70000, 140000]).map(lambda n: b"x" * n), max_size=4)


def test_segments_are_listed_by_number(tmp_path: Path) -> None:
    for segment in (3, 100_000_000, 1, 99_999_999):
        path_of(tmp_path, segment).touch()
    for stranger in ("writer.lock", "notes.jsonl", "00000002.jsonl.bak", "².jsonl"):
        (tmp_path / stranger).touch()
    assert segments(tmp_path) == [1, 3, 99_999_999, 100_000_000]


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert segments(tmp_path / "none") == []
    assert end(tmp_path / "none") == Position(0, 0)
    assert last_line(tmp_path / "none") is None


def test_the_end_follows_the_newest_whole_record(tmp_path: Path) -> None:
    path_of(tmp_path, 1).write_bytes(b"first\n")
    assert end(tmp_path) == Position(1, 6)
    path_of(tmp_path, 2).write_bytes(b"second\ntorn")
    assert end(tmp_path) == Position(2, 7)


@given(lines=LINES, torn=st.sampled_from([b"", b"t", b"\0" * 10, b"t" * 65536, b"t" * 70000]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_repair_leaves_the_whole_lines(lines: list[bytes], torn: bytes, tmp_path: Path) -> None:
    path = path_of(tmp_path, 1)
    kept = b"".join(line + b"\n" for line in lines)
    path.write_bytes(kept + torn)
    assert whole(path) == len(kept)
    assert repair(path) == len(kept)
    assert path.read_bytes() == kept
    assert last_line(tmp_path) == (lines[-1] if lines else None)


def test_a_segment_cut_at_any_byte(tmp_path: Path) -> None:
    content = b"one\n\ntwo\nthree\n"
    path = path_of(tmp_path, 1)
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        assert repair(path) == content[:size].rfind(b"\n") + 1


def test_the_last_line_may_lie_in_an_older_segment(tmp_path: Path) -> None:
    path_of(tmp_path, 1).write_bytes(b"a\nb\ntorn")
    path_of(tmp_path, 2).write_bytes(b"")
    path_of(tmp_path, 3).write_bytes(b"torn")
    assert last_line(tmp_path) == b"b"


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    for _ in range(2):
        make(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        make(tmp_path / "file" / "c")
