"""The bike-sharing data of the demo: a given file, a cached copy, a download, or a seeded simulation."""

from __future__ import annotations

import hashlib
import io
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pandas as pd

from everloop.errors import UsageError

__all__ = ["BikeData", "default_cache", "obtain", "simulate"]

URL = "https://archive.ics.uci.edu/static/public/275/bike+sharing+dataset.zip"
SHA256 = "1e3bdee51441ba1d5cd81599a0e97dbba2034ce9fb585727e4c5e2360e3c48b3"
SIZE = 1_156_736
LIMIT = 8 << 20  # the archive is 0.3 MB; a captive portal must not fill the memory
Progress = Callable[[int, int], None]


class BikeData(msgspec.Struct, frozen=True):
    """Where the demo's rows come from: the file, its SHA-256, how it was obtained."""

    path: Path
    sha256: str
    origin: Literal["file", "cache", "download", "simulated"]


def obtain(given: Path | None, cache: Path, progress: Progress | None = None, url: str = URL) -> BikeData:
    """Return the bike-sharing file: `given`, else the cached copy, else a download, else a simulation in `cache`."""
    if given is not None:
        if not given.is_file():
            raise UsageError(f"--data: there is no file {given}")
        return BikeData(given, _sha256(given.read_bytes()), "file")
    cached = cache / "hour.csv"
    if cached.is_file() and _sha256(cached.read_bytes()) == SHA256:
        return BikeData(cached, SHA256, "cache")
    cache.mkdir(parents=True, exist_ok=True)
    try:
        _replace(cached, _download(url, progress))
        return BikeData(cached, SHA256, "download")
    except OSError:
        simulated = cache / "simulated-hour.csv"
        _replace(simulated, simulate().to_csv(index=False).encode())
        return BikeData(simulated, _sha256(simulated.read_bytes()), "simulated")


def _download(url: str, progress: Progress | None) -> bytes:
    """Return the bytes of hour.csv; an answer that is not the known file counts as no network (OSError)."""
    with urllib.request.urlopen(url, timeout=10) as response:
        total = int(response.headers.get("Content-Length") or 0)
        archive = io.BytesIO()
        while chunk := response.read(1 << 15):
            archive.write(chunk)
            if archive.tell() > LIMIT:
                raise OSError(f"{url} sends more than {LIMIT} bytes")
            if progress:
                progress(archive.tell(), total)
    try:
        content = zipfile.ZipFile(archive).read("hour.csv")
    except (zipfile.BadZipFile, KeyError) as error:
        raise OSError(f"{url} is not the expected archive") from error
    if len(content) != SIZE or _sha256(content) != SHA256:
        raise OSError(f"{url} holds another hour.csv than the known one")
    return content


def simulate(seed: int = 7, hours: int = 17_544) -> pd.DataFrame:
    """Return two simulated years with the schema of the real file and the same kinds of change.

    Kinds: daily and weekly rhythm by working day, season and weather, a level that grows by about two
    thirds over the second year's first months, and a shift from commuting to leisure in summer.
    """
    rng = np.random.default_rng(seed)
    moments = pd.date_range("2011-01-01", periods=hours, freq="h")
    frame = _calendar(moments)
    frame = frame.assign(**_weather(rng, moments))
    frame["casual"], frame["registered"] = _riders(rng, frame, moments)
    frame["cnt"] = frame["casual"] + frame["registered"]
    kept = frame[rng.random(hours) > 0.009].reset_index(drop=True)  # the real file lacks 165 hours
    kept.insert(0, "instant", np.arange(1, len(kept) + 1))
    return kept


def _calendar(moments: pd.DatetimeIndex) -> pd.DataFrame:
    weekday = (moments.day_of_week + 1) % 7  # 0 is Sunday, as in the real file
    holiday = ((moments.month * 100 + moments.day).isin([101, 704, 1111, 1225])).astype(int)
    return pd.DataFrame(
        {
            "dteday": moments.strftime("%Y-%m-%d"),
            "season": ((moments.month % 12) // 3 + 1),
            "yr": moments.year - 2011,
            "mnth": moments.month,
            "hr": moments.hour,
            "holiday": holiday,
            "weekday": weekday,
            "workingday": ((weekday > 0) & (weekday < 6) & (holiday == 0)).astype(int),
        }
    )


def _weather(rng: np.random.Generator, moments: pd.DatetimeIndex) -> dict[str, np.ndarray]:
    n = len(moments)
    slow = np.convolve(rng.normal(size=n + 71), np.ones(72) / np.sqrt(72), "valid")
    year = np.cos(2 * np.pi * (moments.day_of_year.to_numpy() - 200) / 365.25)
    day = np.cos(2 * np.pi * (moments.hour.to_numpy() - 15) / 24)
    temp = np.clip(0.5 + 0.25 * year + 0.07 * day + 0.06 * slow, 0.02, 1.0)
    wet = np.convolve(rng.normal(size=n + 11), np.ones(12) / np.sqrt(12), "valid")
    return {
        "weathersit": np.digitize(wet, [0.45, 1.45, 3.4]) + 1,
        "temp": temp.round(2),
        "atemp": np.clip(temp * 0.93 + 0.02, 0, 1).round(4),
        "hum": np.clip(0.6 + 0.12 * wet - 0.08 * day + 0.05 * rng.normal(size=n), 0.1, 1).round(2),
        "windspeed": np.clip(rng.gamma(2.4, 0.08, n), 0, 0.85).round(4),
    }


def _riders(rng: np.random.Generator, frame: pd.DataFrame, moments: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
    hour, working = frame["hr"].to_numpy(), frame["workingday"].to_numpy()

    def bump(at: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((hour - at) / width) ** 2)

    commute = 330 * bump(8, 0.9) + 380 * bump(17.5, 1.5) + 110 * bump(13, 4)
    leisure = 240 * bump(14, 3.6) + 25 * bump(1, 1.5)
    pleasant = np.clip(1.5 * frame["temp"].to_numpy(), 0.15, 1.1) * (1.15 - 0.35 * frame["hum"].to_numpy())
    rain = np.array([1.0, 0.92, 0.6, 0.35])[frame["weathersit"].to_numpy() - 1]
    years = (moments - moments[0]).days.to_numpy() / 365.25
    level = 0.75 + 0.15 * years + 0.55 / (1 + np.exp(-(years - 1.15) * 14))
    summer = 1 + 0.35 * np.exp(-0.5 * ((years - 1.5) / 0.12) ** 2)
    registered = level * pleasant * rain * np.where(working, commute, 0.75 * leisure)
    casual = level * summer * pleasant**2 * rain * leisure * np.where(working, 0.25, 0.9)
    noise = rng.gamma(18, 1 / 18, (2, len(frame)))
    return rng.poisson(casual * noise[0] + 0.5), rng.poisson(registered * noise[1] + 1.5)


def default_cache() -> Path:
    """Return the user's cache folder for the demo's data."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "everloop" / "bike-sharing"


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
