"""Bad data of many kinds is refused with one clear sentence, and nothing that was there changes by a byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from tests.projects import history, write_project

from everloop import git
from everloop.data.quarantine import listed
from everloop.errors import EverloopError
from everloop.loop.dataset import add_data, check_data, quarantine_of
from everloop.loop.parts import parts_of
from everloop.loop.workspace import opened

NOW = 1_735_689_600.0  # 2025-01-01
RULES = """
[data.checks]
extra = "refuse"
leakage = "refuse"
rows = ["a < b + 100"]

[data.checks.columns.b]
min = 0
present = 0.9

[data.checks.columns.hour]
values = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]

[data.checks.columns.station]
regex = "[A-D][0-9]"

[data.checks.columns.time]
unique = true
increasing = true
"""
Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with rules, whose first 500 rows are a version."""
    folder = write_project(tmp_path_factory.mktemp("bad") / "project", "classification")
    (folder / "data" / "history.csv").unlink()
    text = (folder / "everloop.toml").read_text().replace("data/*.csv", "data/*.*")
    (folder / "everloop.toml").write_text(text + RULES)
    (folder / ".gitignore").write_text("/.everloop/\n")
    git.start(folder)
    git.commit_files(folder, ["."], "start")
    rows()[:500].to_csv(folder.parent / "first.csv", index=False)
    with opened(folder) as workspace:
        add_data(workspace, [str(folder.parent / "first.csv")], now=NOW)
    return folder


def rows() -> pd.DataFrame:
    found = history("classification")
    return found.assign(station=[f"{'ABCD'[n % 4]}{n % 3}" for n in range(len(found))])


def newer() -> pd.DataFrame:
    return rows()[500:].reset_index(drop=True)


def table(change: Change) -> Callable[[Path], Path]:
    """Return what writes the newer rows, changed."""

    def write(place: Path) -> Path:
        change(newer()).to_csv(place / "new.csv", index=False)
        return place / "new.csv"

    return write


def cell(column: str, value: object, count: int = 1) -> Callable[[Path], Path]:
    """Return what writes the newer rows with another value from the third row on."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = frame[column].astype(object)
        frame[column] = frame[column].where((frame.index < 2) | (frame.index > 1 + count), value)
        return frame

    return table(change)


def raw(name: str, content: Callable[[str], bytes | str]) -> Callable[[Path], Path]:
    """Return what writes a file whose bytes are made of the good file's text."""

    def write(place: Path) -> Path:
        found = content(newer().to_csv(index=False))
        (place / name).write_bytes(found if isinstance(found, bytes) else found.encode())
        return place / name

    return write


def _ragged(text: str) -> str:
    lines = text.splitlines()
    return "\n".join([*lines[:4], lines[4] + ",surplus,more", *lines[5:]])


def parquet(change: Change) -> Callable[[Path], Path]:
    """Return what writes the newer rows, changed, as no text file can hold them."""

    def write(place: Path) -> Path:
        change(newer()).to_parquet(place / "new.parquet")
        return place / "new.parquet"

    return write


def held(frame: pd.DataFrame, column: str, value: list[object]) -> pd.DataFrame:
    frame[column] = pd.Series([value] * len(frame), index=frame.index, dtype=object)
    return frame


def _truncated(place: Path) -> Path:
    path = place / "new.parquet"
    newer().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def _copied(frame: pd.DataFrame) -> pd.DataFrame:
    """The newest rows are older ones with a new time."""
    columns = ["a", "b", "hour", "station", "y"]
    frame.loc[350:399, columns] = frame.loc[0:49, columns].to_numpy()
    return frame


def _nested(_: str) -> str:
    first = newer().iloc[:30].to_dict("records")
    return "\n".join(json.dumps(row | {"a": {"value": row["a"]}}) for row in first)


KINDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an empty file": (raw("new.csv", lambda _: ""), "new.csv: the file is empty"),
    "a header alone": (raw("new.csv", lambda text: text.splitlines()[0] + "\n"), "new.csv: the file holds no rows"),
    "another encoding": (raw("new.csv", lambda text: text.replace("yes", "oké").encode("latin-1")), "not UTF-8"),
    "UTF-16": (raw("new.csv", lambda text: text.encode("utf-16")), "not UTF-8"),
    "zero bytes inside": (raw("new.csv", lambda text: text.replace("A0", "A\0")), "does not match|NUL|cannot be read"),
    "a ragged row": (raw("new.csv", _ragged), "cannot be read: .*line 5"),
    "a cut off Parquet file": (_truncated, "new.parquet cannot be read"),
    "another delimiter": (raw("new.csv", lambda text: text.replace(",", ";")), "column 'time' is missing"),
    "an unknown kind of file": (raw("new.xlsx", lambda text: text), "unknown kind of file '.xlsx'"),
    "nested JSON": (raw("new.jsonl", _nested), "column 'a' is not a number"),
    "a JSON array": (raw("new.jsonl", lambda _: newer()[:3].to_json(orient="records")), "line 1: "),
    "JSON cut off": (raw("new.jsonl", lambda _: newer()[:3].to_json(orient="records", lines=True)[:-9]), "line 3: "),
    "a column twice": (raw("new.csv", lambda text: text.replace("time,a,b", "time,a,a", 1)), "column 'b' is missing"),
    "a renamed column": (table(lambda f: f.rename(columns={"hour": "hours"})), "'hour' is missing .*'hours'"),
    "a column too many": (table(lambda f: f.assign(id=1)), "column 'id' is none of the schema's"),
    "text for a number": (cell("a", "much"), "column 'a' is not a number in row 3: 'much'"),
    "a decimal comma": (cell("a", "1,5"), "column 'a' is not a number in row 3: '1,5'"),
    "an infinite number": (cell("a", float("inf")), "column 'a' is not a number in row 3: 'inf'"),
    "lists for numbers": (parquet(lambda f: held(f, "a", [1, 2])), "column 'a' is not a number in rows 1, 2"),
    "lists for texts": (parquet(lambda f: held(f, "station", ["A0"])), "column 'station' is no text in rows"),
    "lists for classes": (parquet(lambda f: held(f, "y", ["yes", "no"])), "column 'y' is no text in rows 1"),
    "bytes for texts": (parquet(lambda f: f.assign(station=b"\xff\0")), "column 'station' is no text in rows 1, 2"),
    "an unknown class": (cell("y", "perhaps", 2), "unknown class 'perhaps' in rows 3, 4"),
    "a missing target": (cell("y", None), r"column 'y' \(the target\) is missing in row 3"),
    "an unreadable time": (cell("time", "31/12/24"), "column 'time' is no time in row 3"),
    "a missing time": (cell("time", None), "column 'time' is no time in row 3: it is missing;"),
    "a time in the future": (cell("time", "2031-01-01T00:00:00Z"), "'time' lies in the future in row 3"),
    "a time that goes back": (cell("time", "2024-01-01T00:30:00Z"), "column 'time' goes back in row 3"),
    "a time twice": (
        table(lambda f: f.assign(time=f["time"].shift(1, fill_value=f["time"][0]))),
        "comes twice in row 2",
    ),
    "a column without a value": (table(lambda f: f.assign(a=None)), "column 'a' holds no value at all"),
    "too many gaps": (cell("b", None, 80), "column 'b' holds a value in 80.0% of the rows"),
    "below its range": (cell("b", -1), "column 'b' is less than 0 in row 3: '-1.0'"),
    "none of the allowed": (cell("hour", 3), "column 'hour' is none of the allowed values in row 3"),
    "not of its form": (cell("station", "E55"), "column 'station' does not match .* in row 3: 'E55'"),
    "columns that contradict": (cell("a", 500), "not a < b [+] 100 in row 3"),
    "doubles over the split": (table(_copied), "of the newest rows, which models are judged on, stand among"),
    "a column that is the target": (
        table(lambda f: f.assign(station=f["y"].map({"yes": "A1", "no": "B2"}))),
        "column 'station' alone gives the target",
    ),
    "a column that counts rows": (table(lambda f: f.assign(b=range(len(f)))), "column 'b' counts its rows"),
}


@pytest.fixture(params=[0, 37], ids=["whole", "parts"])
def reading(project: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Read files whole, or so many rows at a time: what is said of them is the same."""
    file = project / "everloop.toml"
    text = file.read_text()
    file.write_text(text.replace("[data]\n", f"[data]\nchunk_rows = {request.param}\n"))
    yield
    file.write_text(text)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("kind", KINDS)
def test_bad_data_is_refused_and_nothing_changes(project: Path, tmp_path: Path, kind: str) -> None:
    write, told = KINDS[kind]
    path, before = write(tmp_path), state(project)
    with opened(project) as workspace:
        with pytest.raises(EverloopError, match=told) as error:
            add_data(workspace, [str(path)], now=NOW)
        place = quarantine_of(workspace)
    assert state(project) == before
    sentence = str(error.value)
    assert "\n" not in sentence
    assert path.name in sentence
    assert "staging" not in sentence
    assert "nothing was added" in sentence
    id = sentence.rpartition(" ")[2].rstrip("`")
    kept = next(one for one in listed(place) if one.id == id)
    assert (place / id / kept.file).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("reading")
def test_good_data_of_odd_kinds_is_taken(project: Path, tmp_path: Path) -> None:
    """A mark of byte order, mixed ends of lines, missing last end of line: the rows are the same."""
    with opened(project) as workspace:
        settings = workspace.settings
        plain = parts_of(settings, project, raw("new.csv", lambda text: text)(tmp_path)).whole()
        for name, content in (
            ("bom.csv", lambda text: b"\xef\xbb\xbf" + text.encode()),
            ("mixed.csv", lambda text: text.replace("\n", "\r\n", 100)),
            ("cut.csv", lambda text: text.rstrip("\n")),
        ):
            odd = parts_of(settings, project, raw(name, content)(tmp_path)).whole()
            pd.testing.assert_frame_equal(odd, plain)
        assert check_data(workspace, [tmp_path / "new.csv"], NOW)[:2] == (400, [])


def state(folder: Path) -> dict[str, str]:
    """Return a digest of every file of the project, git's and DVC's too, but for the quarantine and logs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and "quarantine" not in inside.parts and not path.name.endswith((".pyc", ".lease")):
            found[str(inside)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
