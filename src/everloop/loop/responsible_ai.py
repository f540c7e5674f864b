"""Responsible AI insights of a version: computed, saved and shown by Microsoft's toolbox in its own environment."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.errors import SystemError_, UsageError
from everloop.evaluation import Answered
from everloop.evaluation.answered import spread_out
from everloop.inference import Model
from everloop.loop.evaluating import answered_of, version_of
from everloop.loop.lease import lease
from everloop.loop.leash import leashed
from everloop.loop.training_sets import table_of
from everloop.loop.workspace import Workspace
from everloop.pipelines.declared import Environment
from everloop.pipelines.environments import build
from everloop.types import Column

__all__ = ["ENVIRONMENT", "Insights", "save_insights", "saved_insights", "serve_insights"]

ENVIRONMENT = Environment(
    (
        "numpy==1.26.2",  # the newest that raiwidgets takes
        "onnxruntime==1.32.0",
        "pandas==1.5.3",
        "raiwidgets==0.36.0",
        "responsibleai==0.36.0",
        "scipy==1.15.3",  # newer ones lack what its statsmodels imports
    ),
    "3.11",
)
COMPUTE = Path(__file__).with_name("inside_responsible_ai.py")
SHOW = Path(__file__).with_name("inside_responsible_ai_dashboard.py")
HOST = "127.0.0.1"
FILE = "everloop.json"
"""What the insights are of; written last, and what tells saved insights from another folder."""
ROWS = 1_000
"""The toolbox shows five thousand at most, after minutes: its work grows with the square of them."""
TRAINING_ROWS = 5_000
COUNTERFACTUALS = 20
Tell = Callable[[str], None]


class Insights(msgspec.Struct, frozen=True):
    """What saved insights are of: `rows` of the `judged` ones; `covered` rows by insight, and why one is left out."""

    model: str
    version: str
    task: str
    rows: int
    judged: int
    train: int
    train_from: str
    covered: dict[str, int]
    left_out: dict[str, str]


def save_insights(workspace: Workspace, id: str | None, folder: Path, tell: Tell = lambda _part: None) -> Insights:
    """Compute insights of a version, by default the champion, into a new or empty folder: whole or not at all."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty: name a new folder for insights, or show saved ones with --serve")
    folder = folder.resolve()
    tell("reading")
    row = version_of(workspace, id)
    rows = answered_of(workspace, row)
    model = workspace.model(row["bundle"])
    _check_tabular(row["id"], model, rows.columns)
    some = rows.take(spread_out(len(rows), ROWS))
    train, train_from = _training_rows(workspace, row, rows)
    tell("building")
    python = build(ENVIRONMENT)
    held = workspace.path(workspace.settings.storage.lease).with_name("responsible-ai.lease")
    with lease(held, "everloop evaluate --responsible-ai"), _partial(folder) as partial:
        order = partial / "order"
        order.mkdir()
        _write_order(order, workspace, model, some, train)
        tell("loading")
        told = _run(python, (COMPUTE, order, partial / "insights"), lambda said: tell(said.get("part", "saving")))
        found = Insights(
            workspace.name, row["id"], rows.task, len(some), len(rows), len(train["target"]), train_from,
            told["rows"], told["left_out"],
        )  # fmt: skip
        (partial / "insights" / FILE).write_bytes(msgspec.json.encode(found))
        (partial / "insights").rename(folder)
    return found


def saved_insights(folder: Path) -> Insights:
    """Return what the insights in a folder are of; raises `UsageError` for any other folder."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Insights)
    except (OSError, msgspec.MsgspecError):
        raise UsageError(f"{folder} holds no insights that were saved here: name another folder") from None


def serve_insights(folder: Path, port: int, started: Callable[[str], None], tell: Tell = lambda _part: None) -> None:
    """Show the dashboard over saved insights on this machine until SIGTERM or SIGINT; `started` gets its URL."""
    from everloop.serving.server import bind, url  # uvicorn takes longer to import than all of the rest

    saved_insights(folder)
    tell("building")
    python = build(ENVIRONMENT)
    tell("loading")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with bind(HOST, port) as listener:
            number = listener.fileno()
            _run(python, (SHOW, folder, number), lambda _ready: started(url(listener)), (number,))
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_tabular(version: str, model: Model, columns: Sequence[Column]) -> None:
    if model.native:
        raise UsageError(f"{version} is a native model: the toolbox asks graphs only")
    for column in columns:
        if column.kind not in ("numeric", "categorical"):
            told = f"column {column.name!r} of {version} is of kind {column.kind}"
            raise UsageError(f"{told}: the toolbox looks at numbers, flags and categories only")


def _training_rows(workspace: Workspace, row: Mapping[str, Any], rows: Answered) -> tuple[dict[str, NDArray[Any]], str]:
    """Return rows that the toolbox learns from, and where they are from: the data version, else the judged rows."""
    found, source = {**rows.inputs, "target": rows.labels}, "judged rows"
    with contextlib.suppress(SystemError_):  # its table is damaged or gone
        table = table_of(workspace, row["data_version"])
        found = {c.name: table[c.name].to_numpy() for c in rows.columns}
        found["target"], source = table[workspace.settings.data.target].to_numpy(), row["data_version"]
    place = set(spread_out(len(found["target"]), TRAINING_ROWS).tolist())
    for values in found.values():  # a category that occurs at all is known
        if values.dtype.kind in "OUSb" or (rows.classes and values is found["target"]):
            place.update(np.unique(values.astype(str), return_index=True)[1].tolist())
    chosen = np.asarray(sorted(place))
    return {name: values[chosen] for name, values in found.items()}, source


def _write_order(
    folder: Path, workspace: Workspace, model: Model, rows: Answered, train: Mapping[str, NDArray[Any]]
) -> None:
    for name, table in (("rows", {**rows.inputs, "target": rows.labels}), ("train", train)):
        arrays: dict[str, Any] = {str(place): _plain(table[column.name]) for place, column in enumerate(rows.columns)}
        np.savez(folder / f"{name}.npz", **arrays, target=_plain(table["target"]))
    (folder / "model.onnx").write_bytes(model.bundle.read("model.onnx"))
    order = {
        "columns": [(column.name, column.dtype) for column in rows.columns],
        "target": workspace.settings.data.target,
        "task": rows.task,
        "classes": [str(c).lower() if isinstance(c, bool) else c for c in rows.classes],
        "counterfactuals": COUNTERFACTUALS,
    }
    (folder / "order.json").write_bytes(msgspec.json.encode(order))


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Return what any numpy reads without a pickle; flags as the texts that the toolbox takes for categories."""
    if values.dtype == np.bool_:
        return np.where(values, "true", "false")
    return values.astype(str) if values.dtype.kind == "O" else values


@contextlib.contextmanager
def _partial(folder: Path) -> Iterator[Path]:
    """Make a folder beside the one that is asked for, gone at the end; one that a killed process left goes too."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _run(
    python: Path, command: Sequence[Path | int], heard: Callable[[dict[str, Any]], None], sockets: Sequence[int] = ()
) -> dict[str, Any]:
    """Run a script in the environment to its end; returns what it said last, raises with its last line otherwise.

    It runs isolated: the modules beside it are named as some of the standard library are.
    """
    told: dict[str, Any] = {}
    arguments = leashed((str(python), "-I", "-W", "ignore", *map(str, command)))
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, pass_fds=sockets) as process,
    ):
        try:
            for line in process.stdout or ():
                told = msgspec.json.decode(line)
                heard(told)
        except BaseException:
            process.terminate()
            raise
        if process.wait():
            raise SystemError_(f"the Responsible AI toolbox did not get through: {_last(process.returncode, log)}")
    return told


def _last(code: int, log: Any) -> str:
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
