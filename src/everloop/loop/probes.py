"""A running server, tried: does a version answer real rows, and how fast do many callers get their answers."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import Any

import numpy as np
import pandas as pd

from everloop import registry
from everloop.errors import CheckError, EverloopError, UsageError
from everloop.inference import judged_rows
from everloop.loop.answering import table_of_inputs
from everloop.loop.client import Client, infer_request
from everloop.loop.tables import predict_rows
from everloop.loop.workspace import Workspace

__all__ = ["load", "smoke"]

ROWS = 5


def smoke(workspace: Workspace, url: str, version: str | None = None, patience: float = 30.0) -> dict[str, Any]:
    """Return what a server answers to rows that the version was judged on: it is ready, and predicts.

    Without a version the plan chooses who answers. Raises CheckError for answers that are none, SystemError_ where
    nothing is ready within `patience` seconds.
    """
    if not 0 <= patience <= 3600:
        raise UsageError(f"--patience {patience:g}: a server is waited for 0 to 3600 seconds")
    rows = _rows(workspace, version)
    name = f"{workspace.name}/versions/{version}" if version else workspace.name
    with contextlib.closing(Client(url, name, patience)) as client:
        client.ready()
        answered = predict_rows(client, rows, lambda raw: raw)
    said = "prediction" if "prediction" in answered else "label"
    if said == "prediction" and not np.isfinite(answered[said].to_numpy(dtype=float)).all():
        raise CheckError(f"{url} answers {answered[said].tolist()}, which are not all numbers")
    versions = sorted(set(answered["version"]))
    if version and versions != [version]:
        raise CheckError(f"{url} was asked for {version}, and {', '.join(versions)} answered")
    return {"url": url, "versions": versions, "rows": len(answered), said: answered[said].tolist()}


def load(
    workspace: Workspace, url: str, *, seconds: float, connections: int, most: int, p99: float | None
) -> dict[str, Any]:
    """Return requests a second and latencies of callers that each send one row after another, for a bounded time.

    `most` bounds the requests too. Raises CheckError where a request fails, or the 99th percentile is above `p99`
    seconds. What is sent is journalled by the server that answers.
    """
    if not 0 < seconds <= 300:
        raise UsageError(f"--seconds {seconds:g}: a load test lasts more than 0 and at most 300 seconds")
    if not 0 < connections <= 64:
        raise UsageError(f"--connections {connections}: a load test has 1 to 64 callers")
    if most < 1:
        raise UsageError(f"--requests {most}: a load test sends at least 1")
    if p99 is not None and not 0 < p99 < math.inf:
        raise UsageError(f"--p99 {p99 * 1000:g}: name a bound in milliseconds above 0")
    rows = _rows(workspace, None)
    callers = [_Caller(url, workspace.name, rows, seconds, most // connections or 1) for _ in range(connections)]
    started = time.perf_counter()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    took = time.perf_counter() - started
    if failed := next((caller.failed for caller in callers if caller.failed), None):
        raise CheckError(f"a request of the load test failed: {failed}")
    all_of_them = np.concatenate([caller.latencies for caller in callers])
    told: dict[str, Any] = {
        "url": url,
        "requests": len(all_of_them),
        "requests_per_second": len(all_of_them) / took,
        "p50_ms": float(np.quantile(all_of_them, 0.5)) * 1000,
        "p99_ms": float(np.quantile(all_of_them, 0.99)) * 1000,
    }
    if p99 is not None and told["p99_ms"] > p99 * 1000:
        raise CheckError(
            f"the 99th percentile is {told['p99_ms']:.3g} ms over {told['requests']:,} requests "
            f"({told['requests_per_second']:.3g} a second), beyond the bound of {p99 * 1000:.3g} ms"
        )
    return told


class _Caller(threading.Thread):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, url: str, model: str, rows: pd.DataFrame, seconds: float, most: int) -> None:
        super().__init__(daemon=True)
        self._client, self._rows, self._seconds, self._most = Client(url, model, patience=0), rows, seconds, most
        self.latencies: list[float] = []
        self.failed: EverloopError | None = None

    def run(self) -> None:
        try:
            with contextlib.closing(self._client) as client:
                types = {column.name: column.datatype for column in client.metadata().inputs}
                asked = [
                    infer_request({name: [row[name]] for name in types}, types)
                    for row in self._rows.to_dict(orient="records")
                ]
                end = time.perf_counter() + self._seconds
                while len(self.latencies) < self._most:
                    if (before := time.perf_counter()) >= end and self.latencies:  # a short load sends one at least
                        break
                    client.infer(asked[len(self.latencies) % len(asked)])
                    self.latencies.append(time.perf_counter() - before)
        except EverloopError as error:
            self.failed = error


def _rows(workspace: Workspace, version: str | None) -> pd.DataFrame:
    """Return rows that a version (by default the champion) was judged on, from its bundle."""
    with workspace.store.read() as connection:
        named = version or registry.alias(connection, workspace.name, "champion")
        if named is None:
            raise UsageError("nothing is served yet: `everloop run` trains the first version")
        bundle = registry.get(connection, workspace.name, named)["bundle"]
    inputs = judged_rows(workspace.model(bundle).bundle).inputs
    return table_of_inputs({name: values[:ROWS] for name, values in inputs.items()})
