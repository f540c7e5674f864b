"""Benchmarks take too long to run here, but what they import of the product is there."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.mark.parametrize("path", sorted(str(p.relative_to(BENCH)) for p in BENCH.rglob("*.py")))
def test_a_benchmark_imports_what_there_is(path: str) -> None:
    for node in ast.walk(ast.parse((BENCH / path).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "everloop":
            module = importlib.import_module(str(node.module))
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
