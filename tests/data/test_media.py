from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from everloop.data.media import beside, columns_of, named_files, value_of, with_files
from everloop.errors import DataError, UsageError
from everloop.inference.media import arrays_of, packed
from everloop.settings import Media

DECLARED = {"photo": Media(kind="image", size=(2, 2), mode="L")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"first")
    (tmp_path / "b.png").write_bytes(b"second")
    return tmp_path


def test_declared_columns_hold_the_array_that_a_graph_takes() -> None:
    declared = DECLARED | {"clip": Media(kind="video", size=(4, 6), frames=3)}
    found = columns_of(declared)
    assert {name: (c.kind, c.shape) for name, c in found.items()} == {
        "photo": ("image", (2, 2, 1)),
        "clip": ("video", (3, 4, 6, 3)),
    }


def test_names_urls_and_bytes_become_the_files_themselves(folder: Path) -> None:
    given = ["photos/a.png", (folder / "b.png").as_uri(), b"third", base64.b64encode(b"fourth").decode(), None, ""]
    found = with_files(pd.DataFrame({"photo": given, "x": range(6)}, index=range(10, 16)), DECLARED, folder)
    assert [v and base64.b64decode(v) for v in found["photo"]] == [b"first", b"second", b"third", b"fourth", None, None]
    assert found.index.tolist() == list(range(10, 16))
    assert found["x"].tolist() == list(range(6))


def test_an_array_is_packed() -> None:
    pixels = np.array([[1, 2], [3, 4]], np.uint8)
    assert value_of(pixels, None) == packed(pixels)
    assert arrays_of(columns_of(DECLARED)["photo"], [packed(pixels)])[0, :, :, 0].tolist() == pixels.tolist()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("lost.png", r"row 2: No such file or directory \(lost\.png\)"),
        ("photos", None),
        ("../b.png", "row 2: '../b.png' lies outside of the table's folder: name files below it"),
        ("/etc/host.conf", "row 2: '/etc/host.conf' lies outside"),
        ("photos/../../b.png", "lies outside"),
        ("photos/a.png/more.png", "row 2: Not a directory"),
        ("file:///lost.png", "row 2: .*lost.png"),
    ],
)
def test_what_is_not_there_is_told_with_its_row(folder: Path, value: str, words: str | None) -> None:
    rows = pd.DataFrame({"photo": ["b.png", value]})
    if words is None:  # no dot: the base64 of something, which decoding will tell
        assert with_files(rows, DECLARED, folder)["photo"][1] == value
        return
    with pytest.raises(DataError, match=words) as caught:
        with_files(rows, DECLARED, folder)
    assert caught.value.rows == (1,)
    assert "\n" not in str(caught.value)


def test_a_name_without_a_table_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'a\.png' is the name of a file, and there is no table beside which it lies"):
        value_of("a.png", None)


def test_named_files_are_each_told_once_in_order() -> None:
    rows = pd.DataFrame({"photo": ["b.png", "photos/a.png", "b.png", None, "s3://bucket/c.png", "aGVsbG8="]})
    assert named_files(rows, DECLARED) == ["b.png", "photos/a.png"]
    assert named_files(rows.rename(columns={"photo": "other"}), DECLARED) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("data/train.csv", "/home/data"),
        ("data/*/part-*.csv", "/home/data"),
        ("*.csv", "/home"),
        ("/srv/data/x.csv", "/srv/data"),
        ("file:///srv/data/x.csv", "/srv/data"),
        ("s3://bucket/x.csv", None),
    ],
)
def test_files_lie_beside_their_table(source: str, found: str | None) -> None:
    assert beside(source, Path("/home")) == (Path(found) if found else None)
