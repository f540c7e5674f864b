"""How many rows a second the monitor takes of a journal, on one core: 12 numbers a row, LightGBM's place left out.

The journal is written first: predictions of one row each, or of a hundred. The floor is decoding alone, line by line in
one go, then each payload. `delay` is how long after its record a second's traffic of 20,000 rows is stored.

    python bench/monitoring.py [--rows 300000]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from everloop.data import Schema
from everloop.journal import Reader, Writer
from everloop.loop.monitored import Batches, decoder_of
from everloop.loop.watch import Scorer
from everloop.monitoring import Cut, Cutter, RealisedWindows, Reference, unlabelled
from everloop.types import Column, Prediction, new_id

COLUMNS = tuple(Column(f"x{i}", "float64") for i in range(12))
CHUNK = 20_000


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    rows = parser.parse_args().rows
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"{'rows a second, on one core':<34}{'decoding':>12}{'monitor':>12}{'delay s':>10}")
    for width in (1, 100):
        with tempfile.TemporaryDirectory() as place:
            journal = Path(place)
            write(journal, rows, width)
            floor, whole = decoding(journal), monitoring(journal)
            told = f"{width} row{'s' if width > 1 else ''} a prediction"
            print(f"{told:<34}{rows / floor:>12,.0f}{rows / whole:>12,.0f}{0.5 + CHUNK * whole / rows:>10.2f}")


def write(journal: Path, rows: int, width: int) -> None:
    """Write a journal of a day, 100 segments of it as the server does."""
    rng, writer = np.random.default_rng(0), Writer(journal)
    for begin in range(0, rows, 1000):
        values = rng.normal(size=(1000, 12)).round(4)
        for at in range(0, 1000, width):
            moment = (begin + at) * 86_400.0 * 3 / rows
            part = values[at : at + width]
            inputs = {c.name: part[:, i].tolist() for i, c in enumerate(COLUMNS)}
            prediction = Prediction("rides", "v1", inputs, {"prediction": part.sum(1).tolist()}, latency_us=120)
            writer.append("prediction", new_id(moment), moment, msgspec.json.encode(prediction))
        writer.flush()
    writer.close()


def decoding(journal: Path) -> float:
    """Return the CPU seconds of reading and decoding all records."""

    decode = decoder_of(COLUMNS, "prediction")

    def once() -> None:
        with contextlib.closing(Reader(journal)) as reader:
            while records := reader.batch():
                decode(b"\n".join(r.payload for r in records))

    return _median(once)


def monitoring(journal: Path) -> float:
    """Return the CPU seconds of reading, cutting into windows and all detectors."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1344, 12))
    values = {c.name: x[:, i] for i, c in enumerate(COLUMNS)}
    answers = x.sum(1)[:, None]
    reference = Reference("regression", COLUMNS, np.arange(1344) * 3600.0, values, answers, rng.normal(size=1344) ** 2)
    schema = Schema(COLUMNS, Column("y", "float64"), "time", "regression")

    def once() -> None:
        cutter, realised = Cutter(86_400.0), RealisedWindows(86_400.0, 0.5)
        detectors, batches = unlabelled(reference, Cut()), Batches(COLUMNS, "v1", Scorer(schema))
        with contextlib.closing(Reader(journal)) as reader:
            while records := [r for _ in range(10) for r in reader.batch()]:
                for part in cutter.cut(*batches.of(records, realised)):
                    for detector in detectors:
                        detector.update(part)

    return _median(once)


def _median(call) -> float:  # type: ignore[no-untyped-def]
    times = []
    for _ in range(3):
        started = time.process_time()
        gc.disable()
        call()
        gc.enable()
        times.append(time.process_time() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
