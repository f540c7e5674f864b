"""Many small files are read in time that grows with their number, and no faster."""

from __future__ import annotations

from pathlib import Path

from everloop.data.sources.tables import FILES, TablesSource


def test_how_far_many_files_were_read_is_said_now_and_then(tmp_path: Path) -> None:
    count = 2 * FILES + 20
    for number in range(count):
        (tmp_path / f"{number:04}.jsonl").write_text(f'{{"id": {number}}}\n')
    source = TablesSource(f"{tmp_path}/*.jsonl")
    chunks = list(source.read({}, 1_000_000))
    told = [chunk.cursor for chunk in chunks if chunk.cursor is not None]
    assert [len(cursor["files"]) for cursor in told] == [FILES, 2 * FILES, count]
    assert [row["id"] for chunk in chunks for row in chunk.rows] == [*range(count)]
    assert chunks[-1].cursor is not None
    after = [row["id"] for chunk in source.read(told[0], 1_000_000) for row in chunk.rows]
    assert after == [*range(FILES, count)]


def test_a_large_file_is_safe_before_the_next_is_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("id\n" + "1\n" * 10_000)
    chunks = list(TablesSource(f"{tmp_path}/*.csv").read({}, 1_000_000))
    assert [chunk.cursor is not None for chunk in chunks] == [True, True, True]
