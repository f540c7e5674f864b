from __future__ import annotations

import functools
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from everloop.errors import UsageError
from everloop.replay import bike_sharing
from everloop.replay.bike_sharing import SHA256, obtain, simulate

REAL = Path(__file__).parents[3] / "shared" / "data" / "bike-sharing" / "hour.csv"
NOWHERE = "http://127.0.0.1:9/nothing.zip"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "site"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/bikes.zip"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_given_file_is_taken(tmp_path: Path) -> None:
    given = tmp_path / "mine.csv"
    given.write_text("a\n1\n")
    found = obtain(given, tmp_path / "cache", url=NOWHERE)
    assert (found.path, found.origin, len(found.sha256)) == (given, "file", 64)
    with pytest.raises(UsageError, match="--data: there is no file"):
        obtain(tmp_path / "other.csv", tmp_path / "cache", url=NOWHERE)


@pytest.mark.skipif(not REAL.is_file(), reason="the real file is not on this machine")
def test_a_download_is_checked_kept_and_used_again(tmp_path: Path, site: tuple[Path, str]) -> None:
    folder, url = site
    with zipfile.ZipFile(folder / "bikes.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(REAL, "hour.csv")
    told: list[tuple[int, int]] = []
    found = obtain(None, tmp_path / "cache", lambda done, total: told.append((done, total)), url)
    assert (found.origin, found.sha256) == ("download", SHA256)
    assert told[-1][0] == told[-1][1] == (folder / "bikes.zip").stat().st_size
    assert obtain(None, tmp_path / "cache", url=NOWHERE).origin == "cache"


@pytest.mark.parametrize("content", [b"<html>please log in</html>", b"", None])
def test_what_is_not_the_file_counts_as_no_network(
    tmp_path: Path, site: tuple[Path, str], content: bytes | None
) -> None:
    folder, url = site
    if content is None:
        with zipfile.ZipFile(folder / "bikes.zip", "w") as archive:
            archive.writestr("hour.csv", "instant,dteday\n1,2011-01-01\n")
    else:
        (folder / "bikes.zip").write_bytes(content)
    assert obtain(None, tmp_path / "cache", url=url).origin == "simulated"
    assert not (tmp_path / "cache" / "hour.csv").exists()


def test_a_damaged_cache_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "hour.csv").write_text("instant\n1\n")
    found = obtain(None, tmp_path, url=NOWHERE)
    assert found.origin == "simulated"
    assert found.path != tmp_path / "hour.csv"


def test_an_endless_download_is_cut(tmp_path: Path, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, url = site
    (folder / "bikes.zip").write_bytes(b"x" * 200_000)
    monkeypatch.setattr(bike_sharing, "LIMIT", 100_000)
    told: list[int] = []
    assert obtain(None, tmp_path / "cache", lambda done, _: told.append(done), url).origin == "simulated"
    assert max(told, default=0) <= 100_000


def test_the_simulation_is_seeded_and_changes_as_the_real_data_does() -> None:
    frame, again = simulate(hours=17_544), simulate(hours=17_544)
    pd.testing.assert_frame_equal(frame, again)
    years = frame.groupby("yr")["cnt"].mean()
    assert 1.4 < years[1] / years[0] < 2.2  # the real file: 1.64
    assert (frame["casual"] + frame["registered"] == frame["cnt"]).all()
    commuters = frame[frame["workingday"] == 1].groupby("hr")["cnt"].mean()
    assert commuters[8] > 2 * commuters[3]


@pytest.mark.skipif(not REAL.is_file(), reason="the real file is not on this machine")
def test_the_simulation_has_the_real_files_columns() -> None:
    real, made = pd.read_csv(REAL, nrows=50), simulate(hours=200)
    assert list(made.columns) == list(real.columns)
    assert [d.kind for d in made.dtypes] == [d.kind for d in real.dtypes]
