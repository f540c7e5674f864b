"""Runs one step in an environment of its own; a script that needs nothing but Python: `python inside.py ORDER`.

ORDER is a JSON file: the step's module and function, where modules lie, each argument's file with its format, and
where results and failure go. Everloop is not installed there, so the decorators are put in its place.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import signal
import sys
import traceback
import types
import zipfile
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def main(order_file: str) -> None:
    """Carry out an order; what goes wrong is written beside the results."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    order = json.loads(Path(order_file).read_text())
    out = Path(order["out"])
    try:
        sys.path[:0] = order["paths"]
        os.chdir(order["folder"])
        _stand_in()
        function = importlib.import_module(order["module"])
        for part in order["function"].split("."):
            function = getattr(function, part)
        arguments = {name: _read(file, format) for name, (format, file) in order["arguments"].items()}
        returned: Any = function(**arguments)  # type: ignore[operator]
        fields = order["outputs"]
        values = [returned] if fields == ["return"] else [getattr(returned, name) for name in fields]
        told = {name: _write(out / name, name, value) for name, value in zip(fields, values)}  # noqa: B905
        (out / "outputs.json").write_text(json.dumps(told))
    except BaseException as error:
        failure = {"kind": type(error).__name__, "text": str(error), "trace": traceback.format_exc()}
        (out / "failure.json").write_text(json.dumps(failure))


def _stand_in() -> None:
    """Put decorators that leave functions alone where the step's module looks for Everloop's."""

    def decorator(function: Any = None, **_options: Any) -> Any:
        return function if function is not None else lambda f: f

    def declared(*_values: Any, **_named: Any) -> None:
        return None

    package, module = types.ModuleType("everloop"), types.ModuleType("everloop.pipelines")
    package.pipelines = module  # type: ignore[attr-defined]
    module.step = module.pipeline = decorator  # type: ignore[attr-defined]
    for name in ("Environment", "Query", "Resources", "each"):
        setattr(module, name, declared)
    sys.modules.update({"everloop": package, "everloop.pipelines": module})


def _read(file: str, format: str) -> Any:
    path = Path(file)
    if format == "json":
        return json.loads(path.read_bytes())
    if format == "bytes":
        return path.read_bytes()
    if format == "parquet":
        import pandas as pd

        return pd.read_parquet(path)
    if format == "npz":
        import numpy as np

        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    return path


def _write(place: Path, name: str, value: Any) -> list[str]:
    """Write one result; returns its format and file."""
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if isinstance(value, Path):
        return ["path", str(value.resolve())]
    if isinstance(value, bytes):
        place.write_bytes(value)
        return ["bytes", str(place)]
    if pandas is not None and isinstance(value, pandas.DataFrame):
        value.to_parquet(place)
        return ["parquet", str(place)]
    if numpy is not None and isinstance(value, dict) and value and all(
        isinstance(v, numpy.ndarray) for v in value.values()
    ):  # fmt: skip
        with zipfile.ZipFile(place, "w") as archive:
            for key in sorted(value):
                member = io.BytesIO()
                numpy.lib.format.write_array(member, value[key], allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{key}.npy"), member.getvalue())
        return ["npz", str(place)]
    try:
        place.write_text(json.dumps(value, allow_nan=False, default=_number))
    except (TypeError, ValueError) as error:
        what = "its result" if name == "return" else f"its output {name!r}"
        told = f"{what} is a {type(value).__name__} that no file holds ({error})"
        raise TypeError(f"{told}: return a DataFrame, arrays, bytes, JSON values or a Path") from None
    return ["json", str(place)]


def _number(value: Any) -> Any:
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"no JSON for a {type(value).__name__}")


if __name__ == "__main__":
    main(sys.argv[1])
