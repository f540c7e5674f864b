from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from everloop.pipelines.imports import find_module, read_source


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def test_all_ways_to_import_are_seen(tmp_path: Path) -> None:
    path = write(
        tmp_path / "shop" / "model" / "fit.py",
        """
        import json, numpy.linalg as la
        from . import near
        from .. import clean as c
        from ..data.read import rows
        from everything import *

        def late():
            import late_one
            return importlib.import_module("by.name"), __import__("other")
        """,
    )
    assert read_source(path, "shop.model.fit").imports == (
        "json", "numpy.linalg", "shop.model", "shop.model.near", "shop", "shop.clean", "shop.data.read",
        "shop.data.read.rows", "everything", "late_one", "by.name", "other",
    )  # fmt: skip


def test_relative_imports_of_a_package_start_in_it(tmp_path: Path) -> None:
    path = write(tmp_path / "shop" / "__init__.py", "from .model import fit")
    assert read_source(path, "shop").imports == ("shop.model", "shop.model.fit")


CODE = '''
"""Doc."""
def fit(rows, rate=0.1):
    """Fits."""
    # slowly
    return [r * rate for r in rows]
'''


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("# slowly", "# quickly, and\n    # carefully", True),
        ('"""Fits."""', '"""Fits well."""', True),
        ('"""Fits."""\n', "\n", True),
        ("rows, rate=0.1", "rows,   rate=0.1", True),
        ("rate=0.1", "rate=0.2", False),
        ("r * rate", "r + rate", False),
        ("def fit", "@cache\ndef fit", False),
        ("return [", "return 'text' and [", False),
    ],
)
def test_only_what_runs_counts(before: str, after: str, same: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "model.py", CODE)
    first = read_source(path, "model")
    assert before in CODE
    path.write_text(CODE.replace(before, after))
    assert (read_source(path, "model").sha256 == first.sha256) is same


def test_a_file_that_is_no_python_counts_by_its_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "model.py", "def (")
    first = read_source(path, "model")
    path.write_text("def (  ")
    assert read_source(path, "model").sha256 != first.sha256
    assert first.imports == ()


def test_modules_and_packages_are_found(tmp_path: Path) -> None:
    package = write(tmp_path / "src" / "shop" / "__init__.py", "")
    module = write(tmp_path / "src" / "shop" / "model.py", "")
    places = [tmp_path, tmp_path / "src"]
    assert find_module("shop", places) == package
    assert find_module("shop.model", places) == module
    assert find_module("shop.none", places) is None
