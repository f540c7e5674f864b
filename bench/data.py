"""What looking at data and versioning it costs: `python bench/data.py [--rows N] [--megabytes N] [--large MIB]`.

Each figure is measured in a process of its own: CPU of it and its children, and its largest memory.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from everloop import git
from everloop.data import infer
from everloop.data.dvc import Repository, start
from everloop.data.profile import profile
from everloop.data.validation import Validation, validate
from everloop.loop.dataset import add_data
from everloop.loop.parts import Newest, Parts, Reading, look_through
from everloop.loop.workspace import opened
from everloop.settings import Checks, Rule

PROJECT = """
[project]
name = "table"
[data]
source = "data/*.parquet"
target = "y"
time = "time"
[training]
model = "model:model"
"""


class Cost(msgspec.Struct):
    """Seconds, seconds of CPU, and MiB at most."""

    wall: float
    cpu: float
    memory: float


def main() -> None:
    """Print all figures."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--megabytes", type=int, default=256)
    asked.add_argument("--large", type=int, default=1024)
    asked.add_argument("--files", type=int, default=20_000)
    told = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="everloop-bench-") as place:
        look(Path(place), told.rows)
        parts(Path(place), told.rows)
        add(Path(place), told.megabytes)
        version(Path(place), told.large, told.files)


def look(place: Path, rows: int) -> None:
    """Print what reading, validating with rules and profiling a table costs."""
    path = place / "table.parquet"
    table(rows).to_parquet(path)

    def read() -> None:
        pd.read_parquet(path)

    def both() -> None:
        frame = pd.read_parquet(path)
        report = validate(frame, infer(frame.iloc[:20_000], target="y", time="time"), rules())
        assert not report.faults
        assert report.table is not None
        profile(report.table, "table", "y", "time")

    print(f"{rows:,} rows x 30 columns, Parquet, {len(rules().columns)} columns with rules")
    show("read alone", measured(read))
    show("read, validate, profile", measured(both))


def parts(place: Path, rows: int) -> None:
    """Print what holding ever larger tables against schema and rules costs, whole and in parts."""
    schema = infer(table(20_000), target="y", time="time")

    def write(path: Path, times: int) -> None:
        frame = table(rows)
        if path.suffix == ".csv":
            frame.to_csv(path, index=False)
            return
        held = pa.Table.from_pandas(frame)
        with pq.ParquetWriter(path, held.schema) as file:
            for _ in range(times):
                file.write_table(held, row_group_size=250_000)

    def looked(name: str, chunk_rows: int, newest: int) -> Callable[[], None]:
        def work() -> None:
            reading = Reading(None, str(place), "y", "time", None, chunk_rows=chunk_rows)
            kept = Newest("time", newest)
            assert not look_through(Parts(name, place, reading, None), Validation(schema, rules()), kept).faults
            assert len(kept.table) == newest or not newest

        return work

    for suffix, times in ((".csv", 1), (".parquet", 1), (".parquet", 4)):
        name = f"large-{times}{suffix}"
        measured(lambda: write(place / name, times))  # noqa: B023
        size = (place / name).stat().st_size
        print(
            f"{times * rows:,} rows x 30 columns, {size / 1e6:,.0f} MB of {suffix[1:]}, held against schema and rules"
        )
        show("whole", measured(looked(name, 0, 0)))
        show("in parts of 100,000 rows", measured(looked(name, 100_000, 100_000)))
        (place / name).unlink()


def add(place: Path, megabytes: int) -> None:
    """Print what `data add` of a table costs beside hashing its bytes and DVC's own start."""
    path = place / "rows.parquet"
    table(megabytes * 1_000_000 // 190).to_parquet(path, compression=None)

    def hashed() -> None:
        with path.open("rb") as file:
            hashlib.file_digest(file, "md5")

    def started() -> None:
        folder = repository(place / "start")
        (folder / "data" / "a.parquet").write_bytes(b"a")
        Repository(folder, "data").add(["a.parquet"])

    def checked() -> None:
        frame = pd.read_parquet(path)
        assert not validate(frame, infer(frame, target="y", time="time"), Checks()).faults

    def added() -> None:
        folder = repository(place / "add")
        with opened(folder) as workspace:
            add_data(workspace, [str(path)])

    print(f"`data add` of {path.stat().st_size / 1e6:,.0f} MB of Parquet")
    costs = [measured(work) for work in (hashed, started, checked, added)]
    for name, cost in zip(("hash once", "DVC's own start", "read and check", "data add"), costs, strict=True):
        show(name, cost)
    floor = 1.5 * costs[0].cpu + costs[1].cpu
    print(f"  allowed (1.5 x hash + DVC): {floor:.2f} s; beyond what reading and checking costs we take "
          f"{costs[3].cpu - costs[2].cpu:.2f} s")  # fmt: skip


def version(place: Path, large: int, files: int) -> None:
    """Print what versioning one large file and many small ones costs, and how much disk they take then."""
    print("versioning alone")
    for name, count, size in ((f"one file of {large} MiB", 1, large << 20), (f"{files:,} files of 4 KiB", files, 4096)):
        folder = repository(place / f"version-{count}")
        block = os.urandom(1 << 20)
        for number in range(count):
            with (folder / "data" / f"{number:06}.bin").open("wb") as file:
                left = size
                while left > 0:
                    left -= file.write(number.to_bytes(8, "little") + block[: min(left, len(block)) - 8])
        before = used(folder)
        show(name, measured(lambda: Repository(folder, "data").add([f"{n:06}.bin" for n in range(count)])))  # noqa: B023
        print(f"    {before / 2**20:,.0f} MiB before, {used(folder) / 2**20:,.0f} MiB after")


def table(rows: int) -> pd.DataFrame:
    """Return 22 numbers, 6 categories, a time and a target."""
    rng = np.random.default_rng(0)
    columns: dict[str, object] = {"time": pd.date_range("2024-01-01", periods=rows, freq="s", tz="UTC")}
    columns |= {f"n{i}": rng.normal(i, 1 + i, rows) for i in range(22)}
    columns |= {f"c{i}": rng.choice([f"v{i}-{k}" for k in range(5 + 3 * i)], rows) for i in range(6)}
    found = pd.DataFrame(columns)
    found["y"] = found["n0"] * 3 + found["n1"] + rng.normal(size=rows)
    found.loc[::50, "n3"] = np.nan
    return found


def rules() -> Checks:
    """Return rules for twelve columns, and one over two of them."""
    numbers = {f"n{i}": Rule(min=-1000, max=1000) for i in range(10)}
    texts = {"c0": Rule(regex="v0-[0-9]+"), "c1": Rule(values=tuple(f"v1-{k}" for k in range(20)))}
    return Checks(columns=numbers | texts, rows=("n0 < n21 + 1000",))


def repository(folder: Path) -> Path:
    """Return a project without data, under git and DVC."""
    (folder / "data").mkdir(parents=True)
    (folder / "everloop.toml").write_text(PROJECT)
    (folder / ".gitignore").write_text("/.everloop/\n")
    git.start(folder)
    git.run(folder, "config", "user.email", "bench@example.org")
    git.run(folder, "config", "user.name", "bench")
    start(folder)
    git.commit_files(folder, ["."], "start")
    return folder


def used(folder: Path) -> int:
    """Return how much disk a folder takes; what is linked counts once."""
    found = subprocess.run(["du", "-s", "-B1", str(folder)], capture_output=True, check=True, text=True).stdout
    return int(found.split()[0])


def measured(work: Callable[[], object]) -> Cost:
    """Return what work costs in a fork of this process."""
    reading, writing = os.pipe()
    begun = time.perf_counter()
    if os.fork() == 0:
        own = resource.getrusage(resource.RUSAGE_SELF)
        work()
        used_ = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(u.ru_utime + u.ru_stime for u in used_) - own.ru_utime - own.ru_stime
        memory = max(u.ru_maxrss for u in used_) / 1024
        os.write(writing, msgspec.json.encode(Cost(time.perf_counter() - begun, cpu, memory)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        content = told.read()
    os.wait()
    if not content:
        sys.exit("a measurement failed: see above")
    return msgspec.json.decode(content, type=Cost)


def show(name: str, cost: Cost) -> None:
    """Print one line."""
    print(f"  {name:<28}{cost.wall:7.2f} s  {cost.cpu:7.2f} s of CPU  {cost.memory:7.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
