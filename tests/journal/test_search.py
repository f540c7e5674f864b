"""Records of one id, wherever they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from everloop.errors import JournalError
from everloop.journal import Writer
from everloop.journal.search import find
from everloop.journal.segments import path_of, segments


def test_all_records_of_an_id_in_their_order(tmp_path: Path) -> None:
    writer = Writer(tmp_path, segment_bytes=600)
    for number in range(40):
        writer.append("prediction", f"id-{number}", 1.0, b'{"near":"id-4"}')
        writer.flush()
    writer.append("feedback", "id-4", 2.0, b"{}")
    writer.flush()
    assert len(segments(tmp_path)) > 5
    assert [(r.kind, r.number) for r in find(tmp_path, "id-4")] == [("prediction", 5), ("feedback", 41)]
    assert find(tmp_path, "id-41") == []
    assert find(tmp_path / "none", "id-4") == []
    with path_of(tmp_path, segments(tmp_path)[-1]).open("ab") as file:
        file.write(b'{"n":42,"kind":"feedback","id":"id-4"')  # a line that is being written
    assert len(find(tmp_path, "id-4")) == 2
    writer.close()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("id", ["", "\n", "\nid", "\r"])
def test_what_can_be_no_id_is_searched_to_the_end(tmp_path: Path, id: str) -> None:
    writer = Writer(tmp_path)
    for number in range(3):
        writer.append("prediction", f"id-{number}", 1.0, b"{}")
    writer.close()
    assert find(tmp_path, id) == []


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append("prediction", "a", 1.0, b"{}")
    writer.close()
    path = path_of(tmp_path, segments(tmp_path)[-1])
    path.write_bytes(path.read_bytes().replace(b'"kind"', b'"knd"'))
    with pytest.raises(JournalError, match="restore the segment from a copy"):
        find(tmp_path, "a")
