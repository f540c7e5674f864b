"""Answers with models that are no graphs, by a process of their own: a library's crash or leak is not the server's."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.errors import BundleError, RequestError, SystemError_
from everloop.types import Task

__all__ = ["FILE", "LENGTH", "Columns", "Described", "DescribedPart", "Loading", "NativeRuntime", "Reply"]

FILE = "native.json"
LENGTH = struct.Struct("<Q")
_WORKER = "everloop.training.native"


class DescribedPart(msgspec.Struct, frozen=True, kw_only=True):
    """One member of the recipe: its file, whose ending names the format, and how its answer is corrected."""

    file: str
    sha256: str
    classes: list[Any] = []
    level: tuple[float, ...] | None = None
    time_index: float | None = None


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """`native.json`: the model is the mean of its parts; `libraries` are those that it was saved with."""

    format: int = 1
    task: Task
    inputs: list[str]
    classes: list[Any]
    parts: list[DescribedPart]
    libraries: dict[str, str]


class Loading(msgspec.Struct, frozen=True):
    """What the process is sent first: files that were verified, and the types that may be made of them."""

    files: dict[str, bytes]
    allowed: list[str]


class Columns(msgspec.Struct, frozen=True):
    """Rows by column: dtype and bytes, or a list of texts."""

    columns: dict[str, tuple[str, bytes | list[Any]]]


class Reply(msgspec.Struct, frozen=True):
    """Answers as float64, or an error."""

    answers: bytes = b""
    shape: list[int] = []
    error: str = ""


class NativeRuntime:
    """The face of a process that answers; one that dies is started again at the next request.

    `predict` waits for the process, so it belongs into a thread.
    """

    def __init__(self, files: Mapping[str, bytes], allowed: Sequence[str]) -> None:
        """Raises `BundleError` where the process cannot load the model."""
        try:
            self._described = msgspec.json.decode(files[FILE], type=Described)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BundleError(f"{FILE} of the bundle cannot be read: {error}") from error
        if self._described.format != 1:
            raise BundleError(f"{FILE} of the bundle has format {self._described.format}, this Everloop reads 1")
        needed = {FILE, *(part.file for part in self._described.parts)}
        self._loading = Loading({name: data for name, data in files.items() if name in needed}, list(allowed))
        self._lock = threading.Lock()
        self.inputs = tuple(self._described.inputs)
        regression = self._described.task == "regression"
        self.outputs = ("prediction",) if regression else ("label", "probability")
        self._process = self._start()

    def predict(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs by name; raises `RequestError` where the model refuses, `SystemError_` where it died."""
        with self._lock:
            if self._process.returncode is not None:
                self._process = self._start()
            try:
                reply = _asked(self._process, Columns({name: _packed(feeds[name]) for name in self.inputs}))
            except (OSError, EOFError) as error:
                _end(self._process)
                raise SystemError_(
                    f"the process of the native model died (exit {self._process.returncode}): try again"
                ) from error
        if reply.error:
            raise RequestError(f"the model refuses the input: {reply.error}")
        answers = np.frombuffer(reply.answers, dtype=np.float64).reshape(reply.shape)
        if self._described.task == "regression":
            return {"prediction": answers[:, None]}
        labels = np.asarray(self._described.classes)[answers.argmax(axis=1)]
        return {"label": labels, "probability": answers}

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        process = subprocess.Popen([sys.executable, "-m", _WORKER], stdin=pipe, stdout=pipe)
        weakref.finalize(self, _end, process)
        try:
            reply = _asked(process, self._loading)
        except (OSError, EOFError) as error:
            _end(process)
            raise BundleError(
                "the process of the native model does not start; pip install 'everloop[platform]'"
            ) from error
        if reply.error:
            _end(process)
            raise BundleError(f"the native model cannot be loaded: {reply.error}")
        return process


def _packed(array: NDArray[Any]) -> tuple[str, bytes | list[Any]]:
    flat = array.reshape(len(array))
    return ("object", flat.tolist()) if array.dtype.kind == "O" else (array.dtype.str, flat.tobytes())


def _asked(process: subprocess.Popen[bytes], message: Loading | Columns) -> Reply:
    assert process.stdin
    assert process.stdout
    data = msgspec.msgpack.encode(message)
    process.stdin.write(LENGTH.pack(len(data)) + data)
    process.stdin.flush()
    head = process.stdout.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    return msgspec.msgpack.decode(process.stdout.read(LENGTH.unpack(head)[0]), type=Reply)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if pipe:
                pipe.close()
