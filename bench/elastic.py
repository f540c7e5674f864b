"""What it costs to bring the journal to Elasticsearch: rows a second, and CPU of the shipper a row.

python bench/elastic.py [--records 20000] [--rows 1]

The server is that of the tests, in a process of its own: it answers as the bulk API does, and indexes nothing, so the
rows a second are bounded by it; the CPU a row is the shipper's alone.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from everloop.journal import Writer
from everloop.shippers.dead_letters import DeadLetters
from everloop.shippers.elastic import Bulk
from everloop.shippers.journal_shipper import JournalShipper
from everloop.shippers.search_clients import connect
from everloop.types import Prediction, new_id

SERVER = """
import sys
from tests.elastic import elastic_server
with elastic_server() as server:
    print(server.url, flush=True)
    sys.stdin.read()
    print(len(server.documents), flush=True)
"""
COLUMNS = [f"x{i}" for i in range(12)]


def main() -> None:
    """Print rows a second and CPU microseconds a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=1, help="of each prediction")
    options = parser.parse_args()
    root = Path(__file__).parents[1]
    command = (sys.executable, "-c", SERVER)
    with (
        tempfile.TemporaryDirectory() as place,
        subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        folder = Path(place)
        fill(folder / "journal", options.records, options.rows)
        assert process.stdout is not None
        seconds, cpu = ship(process.stdout.readline().strip(), folder)
        told, _ = process.communicate()
    rows = options.records * options.rows
    assert int(told) == rows, f"{told.strip()} of {rows} rows are there"
    print(f"{rows} rows: {rows / seconds:,.0f} rows/s, {cpu / rows * 1e6:.1f} us of CPU a row")


def fill(journal: Path, records: int, rows: int) -> None:
    """Write predictions of 12 features."""
    inputs = {name: [0.123456 * i] * rows for i, name in enumerate(COLUMNS)}
    found = msgspec.json.encode(Prediction("toy", "v1", inputs, {"y": [1.5] * rows}, latency_us=900))
    with contextlib.closing(Writer(journal)) as writer:
        for number in range(records):
            writer.append("prediction", new_id(1.7e9 + number), 1.7e9 + number, found)
        writer.flush()


def ship(url: str, folder: Path) -> tuple[float, float]:
    """Bring all there; return wall and CPU seconds."""
    bulk = Bulk(connect(url), letters=DeadLetters(folder / "dead.jsonl"))
    shipper = JournalShipper(folder / "journal", folder / "offsets", "everloop", "toy", lambda: bulk)
    wall, cpu = time.perf_counter(), time.process_time()
    while shipper.ready():
        shipper.step()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
