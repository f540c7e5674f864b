"""Models that no converter takes, in their library's own format, never pickle; and the process that answers with them.

A LightGBM model is its text, an XGBoost model its JSON, anything else a skops file, whose types are loaded only where
the project file allows each of them. `python -m everloop.training.native` is what `everloop.inference` starts: it
reads the files of a verified bundle and then columns on its standard input, and writes answers to its output.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import metadata
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.errors import EverloopError, UsageError
from everloop.inference.runtimes.native import FILE, LENGTH, Columns, Described, DescribedPart, Loading, Reply
from everloop.training.window import EVERYTHING, Part, Problem, Trained
from everloop.types import Column

__all__ = ["FILE", "Booster", "load", "main", "save"]

_LIBRARIES = ("lightgbm", "xgboost", "scikit-learn", "skops")


class Booster:
    """A LightGBM or XGBoost model read from its own format, with scikit-learn's face."""

    def __init__(self, ask: Callable[[pd.DataFrame], Any], classes: Sequence[Any]) -> None:
        self._ask, self.classes_ = ask, np.asarray(classes)

    def predict(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Return one number a row."""
        return np.asarray(self._ask(features), dtype=np.float64)

    def predict_proba(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Return one probability a class and row."""
        found = self.predict(features)
        return np.column_stack([1 - found, found]) if found.ndim == 1 else found


def save(trained: Trained, inputs: Sequence[Column], allowed: Collection[str]) -> dict[str, bytes]:
    """Return the files of a trained recipe; raises `UsageError` naming the types that the project must allow."""
    problem, files, parts = trained.problem, dict[str, bytes](), []
    for number, part in enumerate(trained.parts):
        kind, data = _saved(part.estimator)
        name = f"native/{number}.{kind}"
        files[name] = data
        classes = getattr(part.estimator, "classes_", np.empty(0)).tolist()
        level = tuple(float(v) for v in part.level) if part.level is not None else None
        digest = hashlib.sha256(data).hexdigest()
        parts.append(DescribedPart(file=name, sha256=digest, classes=classes, level=level, time_index=part.time_index))
    _check_allowed({name: data for name, data in files.items() if name.endswith(".skops")}, allowed)
    described = Described(
        task=problem.task,
        inputs=[c.name for c in inputs],
        classes=list(problem.classes),
        parts=parts,
        libraries={name: metadata.version(name) for name in _LIBRARIES if _installed(name)},
    )
    return {FILE: msgspec.json.format(msgspec.json.encode(described), indent=2), **files}


def load(files: Mapping[str, bytes], allowed: Collection[str]) -> Trained:
    """Return what answers as the saved recipe did; raises `UsageError` for types that are not allowed."""
    described = msgspec.json.decode(files[FILE], type=Described)
    problem = Problem(
        task=described.task,
        inputs=tuple(described.inputs),
        target="",
        classes=tuple(described.classes),
        build=lambda: None,
        loss=lambda _truth, answers: answers,
        horizon=0.0,
    )
    parts = tuple(
        Part(
            _loaded(part, files[part.file], allowed),
            np.asarray(part.level, dtype=np.float64) if part.level is not None else None,
            part.time_index,
        )
        for part in described.parts
    )
    return Trained(EVERYTHING, parts, problem)


def main() -> None:
    """Answer columns until the standard input ends."""
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library prints is no answer
    message = _read(stdin)
    if message is None:
        return
    loading = msgspec.msgpack.decode(message, type=Loading)
    try:
        trained = load(loading.files, loading.allowed)
    except Exception as error:  # of any library
        _write(stdout, Reply(error=_sentence(error)))
        return
    _write(stdout, Reply())
    while (message := _read(stdin)) is not None:
        try:
            rows = _table(msgspec.msgpack.decode(message, type=Columns))
            answers = np.ascontiguousarray(trained.answers(rows), dtype=np.float64)
            reply = Reply(answers=answers.tobytes(), shape=list(answers.shape))
        except Exception as error:
            reply = Reply(error=_sentence(error))
        _write(stdout, reply)


def _saved(estimator: Any) -> tuple[str, bytes]:
    libraries = {kind.__module__.partition(".")[0] for kind in type(estimator).__mro__}
    if "lightgbm" in libraries:
        return "lightgbm", estimator.booster_.model_to_string().encode()
    if "xgboost" in libraries:
        return "xgboost", bytes(estimator.get_booster().save_raw("json"))
    return "skops", _skops().dumps(estimator)


def _loaded(part: DescribedPart, data: bytes, allowed: Collection[str]) -> Any:
    kind = part.file.rpartition(".")[2]
    if kind == "lightgbm":
        import lightgbm

        return Booster(lightgbm.Booster(model_str=data.decode()).predict, part.classes)
    if kind == "xgboost":
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray(data))
        return Booster(lambda features: booster.predict(xgboost.DMatrix(features)), part.classes)
    _check_allowed({part.file: data}, allowed)
    return _skops().loads(data, trusted=list(allowed))


def _skops() -> Any:
    try:
        from skops import io
    except ImportError:
        raise UsageError("models of this kind are kept by skops: pip install 'everloop[native]'") from None
    return io


def _check_allowed(files: Mapping[str, bytes], allowed: Collection[str]) -> None:
    found = {name for data in files.values() for name in _skops().get_untrusted_types(data=data)}
    if missing := sorted(found - set(allowed)):
        listed = ", ".join(f'"{name}"' for name in sorted(found))
        raise UsageError(
            f"the model holds {missing[0]}, which [serving] native does not allow: native = [{listed}] allows all of it"
        )


def _table(columns: Columns) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: np.frombuffer(data, dtype=dtype) if isinstance(data, bytes) else np.array(data, dtype=object)
            for name, (dtype, data) in columns.columns.items()
        }
    )


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _sentence(error: Exception) -> str:
    if isinstance(error, EverloopError):
        return str(error)
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None


def _write(stream: BinaryIO, reply: Reply) -> None:
    data = msgspec.msgpack.encode(reply)
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


if __name__ == "__main__":
    main()
