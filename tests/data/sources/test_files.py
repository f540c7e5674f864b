from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from everloop.data import conform, infer
from everloop.data.sources import files
from everloop.errors import DataError

HEAD = "time,x,y\n"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(folder: Path, source: str) -> str:
    """Return the sentence with which a source is refused."""
    with pytest.raises(DataError) as caught:
        files.read(source, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": 0.1, "c": "x", "d": True}, {"a": 2, "b": 0.2, "c": "y", "d": False}]
    wanted = pd.DataFrame(rows)
    wanted.to_csv(tmp_path / "t.csv", index=False)
    wanted.to_csv(tmp_path / "t.TSV", index=False, sep="\t")
    wanted.to_parquet(tmp_path / "t.parquet")
    write(tmp_path, "t.jsonl", "\n\n".join(map(json.dumps, rows)))
    write(tmp_path, "t.ndjson", "\n".join(map(json.dumps, rows)) + "\n")
    for path in tmp_path.iterdir():
        assert_frame_equal(files.read(path.name, tmp_path), wanted)


def test_a_glob_reads_all_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, value in (("b", 2), ("a", 1), ("c", 3)):
        write(tmp_path, f"{name}.csv", f"x\n{value}\n")
    write(tmp_path, "d.csv", "x\n")
    assert files.read("*.csv", tmp_path)["x"].tolist() == [1, 2, 3]
    assert files.read(f"file://{tmp_path}/[ab].csv", Path("elsewhere"))["x"].tolist() == [1, 2]


def test_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path, "data/*.csv") == f"[data] source 'data/*.csv': no file matches in {tmp_path}"
    assert refused(tmp_path, "") == f"[data] source '': no file matches in {tmp_path}"


def test_an_empty_file_and_one_without_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "")
    assert refused(tmp_path, "a.csv") == f"{path}: the file is empty"
    path = write(tmp_path, "a.jsonl", "\n")
    assert refused(tmp_path, "a.jsonl") == f"{path}: the file is empty"
    write(tmp_path, "b.csv", HEAD)
    assert refused(tmp_path, "b.csv") == f"{tmp_path / 'b.csv'}: the file holds no rows"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", HEAD + "1,2,3\n1,2,3,4\n", "Expected 3 fields in line 3, saw 4"),
        ("a.csv", HEAD + "1,2,3,4\n1,2,3,4\n", "line 2 has more fields than the header, which has 3"),
        ("a.csv", HEAD + '1,2,"3\n', "EOF inside string starting at row 1"),
        ("a.csv", HEAD.encode() + b"1,2,\xff\xfe\n", "its text is not UTF-8 (invalid start byte)"),
        ("a.jsonl", '{"x": 1}\n{"x": \n', "line 2: Input data was truncated"),
        ("a.jsonl", '{"x": 1}\n[1]\n', "line 2: Expected `object`, got `array`"),
        ("a.jsonl", b'{"x": "\xff"}\n', "its text is not UTF-8"),
        ("a.parquet", b"PAR1 nothing", "Parquet"),
    ],
)
def test_a_broken_file_is_named_with_the_line(tmp_path: Path, name: str, content: str | bytes, told: str) -> None:
    path = write(tmp_path, name, content)
    sentence = refused(tmp_path, name)
    assert sentence.startswith(f"{path} cannot be read: ")
    assert told in sentence


def test_an_unknown_kind_of_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.xlsx", "x")
    assert refused(tmp_path, "a.xlsx") == f"{path}: unknown kind of file '.xlsx': use .csv, .tsv, .parquet or .jsonl"


def test_files_must_have_the_same_columns(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", HEAD + "1,2,3\n")
    path = write(tmp_path, "b.csv", "time,x,z\n1,2,3\n")
    assert refused(tmp_path, "*.csv") == f"{path}: its columns differ from the first file's: y, z"
    write(tmp_path, "b.csv", "time,y,x\n1,2,3\n")
    assert refused(tmp_path, "*.csv") == f"{path}: its columns differ from the first file's: their order"


def test_text_is_read_as_it_is_written(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "land,code,n\nNA,007,NA\nNone,x,1\nnan,,2\n,1.0,\nBE,1,3\n")
    table = files.read("a.csv", tmp_path)
    assert table["land"].fillna("").tolist() == ["NA", "None", "nan", "", "BE"]
    assert table["code"].fillna("").tolist() == ["007", "x", "", "1.0", "1"]
    assert table["n"].isna().tolist() == [True, False, False, True, False]


def test_a_column_that_is_text_in_one_file_is_text_in_all(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "zip,n\nA1,1\n")
    write(tmp_path, "b.csv", "zip,n\n007,2\n,3\n")
    table = files.read("*.csv", tmp_path)
    assert table["zip"].fillna("").tolist() == ["A1", "007", ""]
    assert table["n"].tolist() == [1, 2, 3]


def test_booleans_with_gaps_stay_booleans(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "flag,n\nTrue,1\nFalse,2\n")
    write(tmp_path, "b.csv", "flag,n\nTrue,1\n,2\n")
    assert files.read("*.csv", tmp_path)["flag"].fillna("none").tolist() == [True, False, True, "none"]
    write(tmp_path, "a.jsonl", '{"flag": true}\n{"flag": null}\n{}\n')
    assert files.read("a.jsonl", tmp_path)["flag"].fillna("none").tolist() == [True, "none", "none"]


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_nullable_columns_of_parquet_are_those_of_other_files(tmp_path: Path, backend: Any) -> None:
    wanted = pd.DataFrame(
        {"a": [1, 2], "b": [1.0, None], "c": [0.5, None], "d": [True, False], "e": [True, None], "f": [1, 2]}
    ).astype({"f": "int32"})
    nullable = wanted.convert_dtypes(dtype_backend=backend)
    assert not [name for name, dtype in nullable.dtypes.items() if isinstance(dtype, np.dtype)]
    nullable.to_parquet(tmp_path / "a.parquet")
    (part,) = files.parts("a.parquet", tmp_path, 10)
    for found in (files.read("a.parquet", tmp_path), part):
        assert_frame_equal(found, wanted)


def test_json_lines_keep_texts_and_large_numbers(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", '{"code": "007", "day": "2024-01-01", "id": 9007199254740993}\n')
    assert files.read("a.jsonl", tmp_path).iloc[0].tolist() == ["007", "2024-01-01", 2**53 + 1]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
@settings(max_examples=50)
def test_numbers_are_those_that_json_would_give(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    folder = tmp_path_factory.mktemp("numbers")
    write(folder, "a.csv", "x,y\n" + "".join(f"{v!r},1\n" for v in values))
    assert files.read("a.csv", folder)["x"].tolist() == values


def test_any_format_conforms_to_the_same_table(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"time": f"2024-01-01T{h:02}:00:00Z", "n": h / 3, "city": ["NA", "Bonn"][h // 12], "y": "ab"[h % 2]}
        for h in range(20)
    ]
    rows[3]["n"] = rows[5]["city"] = None
    write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    tables = [files.read(f"a.{kind}", tmp_path) for kind in ("jsonl", "csv", "parquet")]
    schemas = [infer(table, target="y", time="time") for table in tables]
    assert schemas[0] == schemas[1] == schemas[2]
    wanted = conform(tables[0], schemas[0])
    for table in tables[1:]:
        assert_frame_equal(conform(table, schemas[0]), wanted)


def test_the_fingerprint_is_of_names_and_contents(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "x\n1\n")
    first = files.fingerprint("*.csv", tmp_path)
    assert files.fingerprint("*.csv", tmp_path) == first
    write(tmp_path, "a.csv", "x\n2\n")
    assert files.fingerprint("*.csv", tmp_path) != first
    write(tmp_path, "a.csv", "x\n1\n")
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    assert files.fingerprint("*.csv", tmp_path) != first


def test_objects_behind_a_url_are_read_as_files_are(tmp_path: Path) -> None:
    place = fsspec.filesystem("memory")
    for name, text in (("a.csv", "x,y\n1,007\n"), ("b.csv", "x,y\n2,u\n"), ("notes.txt", "no")):
        place.pipe(f"/rides/{name}", text.encode())
    found = files.read("memory://rides/*.csv", tmp_path)
    assert found.to_dict("list") == {"x": [1, 2], "y": ["007", "u"]}
    place.pipe("/rides/c.csv", b"x,z\n1,2\n")
    assert "memory://rides/c.csv: its columns differ" in refused(tmp_path, "memory://rides/*.csv").replace(
        ":///", "://"
    )
    assert "no object matches" in refused(tmp_path, "memory://walks/*.csv")


CELLS = st.sampled_from(["", "1", "2.5", "007", "NA", "true", "False", "word", "-3", "1e300", "2012-01-01"])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@example(table=[["", "", ""], ["", "", "true"]], split=1, size=1)  # a gap and a truth value in files of their own
@given(
    table=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=12),
    split=st.integers(0, 12),
    size=st.integers(1, 5),
)
def test_parts_are_the_rows_of_the_whole(
    suffix: str, table: list[list[str]], split: int, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("parts")
    for number, rows in enumerate((table[:split], table[split:])):
        text = "\n".join(["a,b,c", *(",".join(row) for row in rows)]) + "\n"
        (place / f"{number}.csv").write_text(text)
    if suffix != ".csv":
        whole = files.read("*.csv", place)
        for number, frame in enumerate((whole[:split], whole[split:])):
            if len(frame):
                files.write(frame, place / f"{number}{suffix}")
    expected = files.read(f"*{suffix}", place)
    found = pd.concat(files.parts(f"*{suffix}", place, size))
    assert list(found.index) == list(range(len(table)))
    assert all(len(part) <= size for part in files.parts(f"*{suffix}", place, size))
    plain, same = (frame.astype(object).where(frame.notna(), None) for frame in (found, expected))
    assert_frame_equal(plain, same)
    for name in expected:
        if expected[name].dtype.kind in "iuf":
            assert found[name].dtype == expected[name].dtype


def test_parts_of_broken_files_are_told_as_the_whole_is(tmp_path: Path) -> None:
    for name, content in (("a.csv", "a,b\n1,2\n1,2,3\n"), ("b.csv", ""), ("c.csv", "a,b\n"), ("d.jsonl", "{}\n{")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError) as whole:
            files.read(name, tmp_path)
        with pytest.raises(DataError) as found:
            list(files.parts(name, tmp_path, 1))
        assert str(found.value) == str(whole.value)


def test_what_was_given_is_let_go(tmp_path: Path) -> None:
    rows = pa.table({"a": np.random.default_rng(0).normal(size=50_000)})
    with pq.ParquetWriter(tmp_path / "a.parquet", rows.schema) as file:
        for _ in range(40):
            file.write_table(rows)
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in files.parts("a.parquet", tmp_path, 20_000)]
    assert len(held) == 100
    assert max(held) < 10 * rows.nbytes  # of 40
