from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from tests.journal.disks import append, files_of_at_most, ids_of, read_all

from everloop.errors import JournalError
from everloop.journal import Position, Reader, Writer, end
from everloop.journal.records import encode, line
from everloop.journal.segments import path_of


def write(folder: Path, *ids: str, segment_bytes: int = 64 << 20) -> None:
    with contextlib.closing(Writer(folder, segment_bytes=segment_bytes)) as writer:
        for id in ids:
            append(writer, id)


def ids(reader: Reader, limit: int = 1000) -> list[str]:
    return [record.id for record in reader.poll(limit)]


def test_a_journal_that_is_not_there_yet_has_no_records(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "journal")
    assert ids(reader) == []
    write(tmp_path / "journal", "a")
    assert ids(reader) == ["a"]
    reader.close()


def test_a_poll_returns_at_most_its_limit_across_segments(tmp_path: Path) -> None:
    write(tmp_path, *"abcde", segment_bytes=400)
    reader = Reader(tmp_path)
    assert [ids(reader, 2) for _ in range(4)] == [["a", "b"], ["c", "d"], ["e"], []]
    assert reader.position == end(tmp_path)
    reader.close()


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    with contextlib.closing(Writer(tmp_path, segment_bytes=1)) as writer:
        for number in range(20):
            append(writer, str(number))
            assert ids(reader) == [str(number)]
            assert ids(reader) == []
    reader.close()


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    written = line(1, encode("prediction", "a", 1.0, b"{}"))
    reader = Reader(tmp_path)
    for size in range(len(written)):
        path_of(tmp_path, 1).write_bytes(written[:size])
        assert reader.poll() == []
    path_of(tmp_path, 1).write_bytes(written)
    assert ids(reader) == ["a"]
    reader.close()


def test_a_line_may_be_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path)) as writer:
        append(writer, "a", size=5 << 20)
        append(writer, *(str(n) for n in range(2000)), size=1000)
    assert ids_of(read_all(tmp_path)) == ["a", *(str(n) for n in range(2000))]


def test_a_carriage_return_ends_no_line(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path)) as writer:
        writer.append("prediction", "a", 1.0, b'{"x":\r1}')
        writer.append("prediction", "b", 1.0, b"{}")
    assert ids_of(read_all(tmp_path)) == ["a", "b"]


def test_a_restart_goes_on_behind_the_commit(tmp_path: Path) -> None:
    write(tmp_path / "journal", *"abcde", segment_bytes=400)
    seen = []
    for _ in range(4):
        with contextlib.closing(Reader(tmp_path / "journal", "monitor", tmp_path / "offsets")) as reader:
            seen.append(ids(reader, 2))
            reader.commit()
            ids(reader, 1)
    assert seen == [["a", "b"], ["c", "d"], ["e"], []]
    assert os.listdir(tmp_path / "offsets") == ["monitor.json"]
    with contextlib.closing(Reader(tmp_path / "journal", "audit", tmp_path / "offsets")) as reader:
        assert ids(reader) == list("abcde")


def test_a_reader_goes_to_any_position_it_had(tmp_path: Path) -> None:
    write(tmp_path, *"abcd", segment_bytes=400)
    reader = Reader(tmp_path)
    positions = [reader.position]
    while ids(reader, 1):
        positions.append(reader.position)
    assert positions == sorted(positions)
    for number, position in enumerate(positions):
        reader.seek(position)
        assert ids(reader) == list("abcd"[number:])
    reader.close()


def test_a_reader_without_a_name_does_not_commit(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="this reader has no name"):
        Reader(tmp_path).commit()


def test_a_commit_that_fails_leaves_the_one_before_it(tmp_path: Path) -> None:
    write(tmp_path / "journal", *"ab")
    with contextlib.closing(Reader(tmp_path / "journal", "monitor", tmp_path)) as reader:
        ids(reader, 1)
        reader.commit()
        ids(reader, 1)
        with files_of_at_most(3), pytest.raises(JournalError, match=r"monitor\.json cannot be written: File too large"):
            reader.commit()
    assert sorted(os.listdir(tmp_path)) == ["journal", "monitor.json"]
    with contextlib.closing(Reader(tmp_path / "journal", "monitor", tmp_path)) as reader:
        assert ids(reader) == ["b"]


def test_an_offset_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "monitor.json").write_text("")
    with pytest.raises(JournalError, match=r"the offset .*monitor\.json cannot be read: .*; remove it to start anew"):
        Reader(tmp_path / "journal", "monitor", tmp_path)


def test_a_damaged_line_stops_the_reader_where_it_stands(tmp_path: Path) -> None:
    write(tmp_path, *"abc")
    path = path_of(tmp_path, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"#" + lines[1][1:] + lines[2])
    reader = Reader(tmp_path)
    assert ids(reader) == ["a"]
    for _ in range(2):
        with pytest.raises(JournalError, match=rf"00000001\.jsonl at byte {len(lines[0])}: a line cannot be read"):
            reader.poll()
        assert reader.position == Position(1, len(lines[0]))
    path.write_bytes(b"".join(lines))
    reader.seek(reader.position)
    assert ids(reader) == ["b", "c"]
    reader.close()


def test_a_segment_that_was_removed_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, *"abcd", segment_bytes=1)
    reader = Reader(tmp_path)
    assert ids(reader, 1) == ["a"]
    path_of(tmp_path, 1).unlink()
    path_of(tmp_path, 2).unlink()
    assert ids(reader) == ["c", "d"]
    reader.close()
    with contextlib.closing(Reader(tmp_path)) as reader:
        assert ids(reader) == ["c", "d"]


@pytest.mark.parametrize("left", ["another journal", "an empty folder"])
def test_a_journal_that_was_replaced_is_not_waited_for(left: str, tmp_path: Path) -> None:
    write(tmp_path, *"abc", segment_bytes=1)
    reader = Reader(tmp_path)
    assert ids(reader) == list("abc")
    for segment in (1, 2, 3):
        path_of(tmp_path, segment).unlink()
    if left == "another journal":
        write(tmp_path, "d")
    with pytest.raises(JournalError, match="has no segment 3 any more, where this reader went on"):
        reader.poll()
    reader.close()


def test_a_position_inside_a_record_is_refused(tmp_path: Path) -> None:
    write(tmp_path, *"ab")
    reader = Reader(tmp_path)
    reader.seek(Position(1, 5))
    with pytest.raises(JournalError, match=r"no record starts at byte 5 of .*00000001\.jsonl"):
        reader.poll()
    reader.close()


def test_a_reader_that_is_ahead_of_a_power_cut_misses_nothing_after_it(tmp_path: Path) -> None:
    write(tmp_path, *"abc")
    reader = Reader(tmp_path)
    assert ids(reader) == list("abc")
    path = path_of(tmp_path, 1)
    os.truncate(path, path.read_bytes().index(b"\n") + 5)
    write(tmp_path, *"defg")
    assert ids(reader) == list("defg")
    reader.close()
    assert ids_of(read_all(tmp_path)) == list("adefg")


def test_a_segment_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    path_of(tmp_path, 1).mkdir()
    with pytest.raises(JournalError, match="cannot be read: Is a directory"):
        Reader(tmp_path).poll()
