"""How a value becomes bytes: the format follows from its Python type, and equal values give equal bytes. No pickle.

pandas DataFrame -> Parquet; dict of numpy arrays -> npz; bytes -> as they are; whatever JSON can say exactly (plain
values, msgspec Structs, dataclasses, dates) -> JSON, made a typed value again by the annotation it is read with.
Files and folders (`pathlib.Path`) are no values: `artifacts` copies them.
"""

from __future__ import annotations

import inspect
import io
import sys
import typing
import zipfile
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from everloop.errors import UsageError

__all__ = ["SUFFIX", "Format", "UnserialisableError", "decode", "element_of", "encode"]

Format = Literal["parquet", "json", "npz", "bytes", "file", "folder", "list"]
SUFFIX = {"parquet": ".parquet", "json": ".json", "npz": ".npz", "bytes": ".bin", "list": ".list.json"}
_OPEN = (None, inspect.Parameter.empty, Any)


class UnserialisableError(UsageError):
    """A value that no format can hold exactly; says what to hand over instead."""


def encode(value: Any, annotation: Any = None) -> tuple[Format, bytes]:
    """Return the format of a value and its canonical bytes; raises UnserialisableError."""
    if isinstance(value, bytes):
        return "bytes", value
    if _is_frame(value):
        return "parquet", _to_parquet(value)
    if _is_arrays(value):
        return "npz", _to_npz(value)
    return "json", _to_json(value, annotation)


def decode(format: str, data: bytes, annotation: Any = None) -> Any:
    """Return the value that `encode` was given; JSON is typed by `annotation`."""
    readers: dict[str, Callable[[], Any]] = {
        "bytes": lambda: data,
        "parquet": lambda: _from_parquet(data),
        "npz": lambda: _from_npz(data),
        "json": lambda: _from_json(data, annotation),
    }
    return readers[format]()


def element_of(annotation: Any) -> Any:
    """Return the annotation of the elements of `list[...]` or `list[...] | None`; None where it says nothing."""
    for option in (annotation, *typing.get_args(annotation)):
        if typing.get_origin(option) is list:
            return typing.get_args(option)[0]
    return None


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")  # whoever holds a frame has imported it
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _is_arrays(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, dict) or not value:
        return False
    return all(isinstance(k, str) and isinstance(v, numpy.ndarray) for k, v in value.items())


def _to_parquet(frame: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    sink = io.BytesIO()
    try:
        table = pa.Table.from_pandas(frame, nthreads=1).combine_chunks()  # however it was put together: one chunk
        parquet.write_table(table, sink, compression="zstd")
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UnserialisableError(f"a frame that Parquet cannot hold ({error}): give each column one type") from error
    return sink.getvalue()


def _from_parquet(data: bytes) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    return parquet.read_table(pa.BufferReader(data), use_threads=False).to_pandas()


def _to_npz(arrays: dict[str, Any]) -> bytes:
    """Like numpy.savez, with sorted names and no clock in the archive."""
    import numpy as np

    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            try:
                np.lib.format.write_array(member, np.asarray(arrays[name]), allow_pickle=False)
            except ValueError as error:
                raise UnserialisableError(f"array {name!r} holds Python objects: give it a numeric type") from error
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return sink.getvalue()


def _from_npz(data: bytes) -> Any:
    import numpy as np

    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _to_json(value: Any, annotation: Any) -> bytes:
    """What is read back must equal what was given: else NaN would turn into null, a Struct into a dict, unseen."""
    kind = type(value).__name__
    try:
        plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_number)
        data = msgspec.json.encode(plain, order="deterministic")
    except (TypeError, ValueError, OverflowError) as error:
        fix = "return a DataFrame, a dict of numpy arrays, bytes, JSON values, a msgspec Struct, or the Path of a file"
        raise UnserialisableError(f"a {kind} cannot be stored ({error}): {fix}") from error
    try:
        same = _from_json(data, annotation) == value
    except (TypeError, ValueError) as error:
        raise UnserialisableError(f"a {kind} does not fit its annotation ({error}): correct one of them") from error
    if not same:
        raise UnserialisableError(
            f"a {kind} does not survive JSON: annotate its exact type, and write None for a number that is not finite"
        )
    return data


def _from_json(data: bytes, annotation: Any) -> Any:
    if data == b"null":  # of a step that its condition kept from running, whatever it gives else
        return None
    if any(annotation is open_ for open_ in _OPEN):
        return msgspec.json.decode(data)
    return msgspec.json.decode(data, type=annotation)


def _number(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    raise TypeError(f"no JSON for a {type(value).__name__}")
