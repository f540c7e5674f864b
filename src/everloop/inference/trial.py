"""A bundle in a process as bare as a server's: `python -m everloop.inference.trial`, an order in, what was found out.

Whatever only trainings need cannot be imported there, so a bundle that leans on it fails here and not in production.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.bundles import PublicKey
from everloop.errors import EverloopError
from everloop.inference.judged import judged_rows
from everloop.inference.model import Model

__all__ = ["Found", "Order", "known_rows", "main"]

_TRAINING = frozenset(
    ("lightgbm", "mlflow", "onnx", "optuna", "pandas", "pyarrow", "scipy", "sklearn", "skl2onnx", "sqlalchemy", "torch")
)


class Order(msgspec.Struct, frozen=True):
    """Which bundle is tried, who may have signed it, and how many rows at most it answers in how many seconds."""

    bundle: str
    keys: list[str]
    native: list[str] | None = None
    rows: int = 300
    seconds: float = 3.0
    threads: int = 1


class Found(msgspec.Struct, frozen=True):
    """Times in milliseconds, memory in bytes (its largest, that of its own processes included); or an `error`."""

    load: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    rows: int = 0
    memory: int = 0
    answers: list[Any] = []
    error: str = ""


def main() -> None:
    """Carry out the order on the standard input."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.meta_path.insert(0, _Refuse())
    try:
        found = _tried(order)
    except (EverloopError, ImportError, OSError) as error:
        found = Found(error=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(found))


def known_rows(model: Model, count: int) -> dict[str, NDArray[Any]]:
    """Return the newest rows that a bundle's model was judged on, as its graph takes them."""
    return {name: values[-count:] for name, values in judged_rows(model.bundle).inputs.items()}


class _Refuse(MetaPathFinder):
    """Finds nothing of what a server does not have."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: Any = None) -> None:
        if name.partition(".")[0] in _TRAINING:
            raise ModuleNotFoundError(f"the model needs {name}, which a server does not have", name=name)


def _tried(order: Order) -> Found:
    began = time.perf_counter()
    keys = [PublicKey.of_text(key) for key in order.keys]
    model = Model.load(Path(order.bundle), keys, order.threads, guarded=True, native=order.native)
    model.warm_up()
    load, rows = time.perf_counter() - began, known_rows(model, order.rows)
    times, answers = list[float](), list[Any]()
    for row in range(len(next(iter(rows.values())))):
        feeds = {n: v[row : row + 1] if v.ndim > 1 else v[row : row + 1, None] for n, v in rows.items()}
        began = time.perf_counter()
        arrays = model.guards.clip(feeds)
        found = model.predict_scored(arrays)
        times.append(time.perf_counter() - began)
        answers.append((found["prediction"] if "prediction" in found else found["probability"]).tolist()[0])
        if sum(times) > order.seconds:
            break
    p50, p99 = (float(np.quantile(times, q)) * 1000 for q in (0.5, 0.99))
    return Found(load * 1000, p50, p99, len(times), _memory(), answers)


def _memory() -> int:
    """Return the largest resident memory of this process and of those it started."""
    children = [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
    found = [Path(f"/proc/{pid}/status") for pid in ("self", *children)]
    peaks = [re.search(r"VmHWM:\s+(\d+) kB", file.read_text()) for file in found if file.is_file()]
    if any(peaks):
        return sum(int(peak[1]) * 1024 for peak in peaks if peak)
    import resource  # no Linux

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
