from __future__ import annotations

from pathlib import Path

import pytest

from everloop.errors import UsageError
from everloop.loop.written_files import write_texts


def test_texts_are_written_and_written_over(tmp_path: Path) -> None:
    write_texts(tmp_path / "new", {"a.txt": "one", "deep/er/b.txt": "two"})
    write_texts(tmp_path / "new", {"a.txt": "three"})
    found = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"new/a.txt": "three", "new/deep/er/b.txt": "two"}


def test_a_place_that_is_taken_leaves_all_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "b.txt").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UsageError, match=r"b\.txt is a folder, and a file belongs there: move it away; nothing was written"
    ):
        write_texts(tmp_path, {"a.txt": "one", "b.txt": "two"})
    with pytest.raises(UsageError, match="file is a file, and a folder belongs there: move it away"):
        write_texts(tmp_path, {"a.txt": "one", "file/deep/c.txt": "two"})
    with pytest.raises(UsageError, match="file is a file"):
        write_texts(tmp_path / "file", {"a.txt": "one"})
    assert not (tmp_path / "a.txt").exists()
