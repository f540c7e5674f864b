from __future__ import annotations

import importlib.metadata
import linecache
import platform
import sys
import textwrap
from pathlib import Path

import pytest

from everloop.errors import NotFoundError, UsageError
from everloop.pipelines import fingerprint, step
from everloop.pipelines.fingerprints import read_code

MODEL = """
    import pandas
    from shop.features import clean

    def model(rate=0.1):
        return clean(rate)
"""
FEATURES = """
    import sklearn.preprocessing
    from .units import metres

    def clean(rate):
        return metres(rate)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose model imports features, which imports units."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model.py").write_text(textwrap.dedent(MODEL))
    (package / "features.py").write_text(textwrap.dedent(FEATURES))
    (package / "units.py").write_text("def metres(x):\n    return x * 1000\n")
    (package / "stranger.py").write_text("print('never imported')\n")
    return tmp_path


def test_the_modules_reached_and_the_versions_they_build_on(project: Path) -> None:
    found = fingerprint("shop.model:model", project)
    assert [name for name in found if not name.startswith("distribution")] == [
        "shop", "shop.features", "shop.model", "shop.units",
    ]  # fmt: skip
    versions = {name: value for name, value in found.items() if name.startswith("distribution")}
    assert versions == {
        "distribution everloop": importlib.metadata.version("everloop"),
        "distribution pandas": importlib.metadata.version("pandas"),
        "distribution python": platform.python_version(),
        "distribution scikit-learn": importlib.metadata.version("scikit-learn"),
    }


def test_an_edit_two_imports_away_changes_just_its_module(project: Path) -> None:
    before = fingerprint("shop.model:model", project)
    (project / "shop" / "units.py").write_text("def metres(x):\n    return x * 1001\n")
    after = fingerprint("shop.model:model", project)
    assert {name for name in before if before[name] != after[name]} == {"shop.units"}


def test_an_edit_of_a_comment_or_of_a_stranger_changes_nothing(project: Path) -> None:
    before = fingerprint("shop.model:model", project)
    (project / "shop" / "units.py").write_text("def metres(x):\n    # kilometres in\n    return x * 1000\n")
    (project / "shop" / "stranger.py").write_text("print('still not')\n")
    assert fingerprint("shop.model:model", project) == before


def test_modules_below_src_are_the_project_s(project: Path) -> None:
    (project / "src").mkdir()
    (project / "shop").rename(project / "src" / "shop")
    assert "shop.units" in fingerprint("shop.model:model", project)


def test_everloop_s_own_modules_count_like_the_project_s() -> None:
    found = fingerprint("everloop.checks:check", Path("/nonexistent"))
    assert {"everloop", "everloop.checks", "everloop.types"} <= found.keys()
    assert "everloop.store" not in found


def test_installed_packages_are_not_walked_even_below_the_root(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = project / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "pandas.py").touch()
    monkeypatch.syspath_prepend(str(installed))
    assert "pandas" not in fingerprint("shop.model:model", project)


def test_a_module_that_is_not_there_gets_the_close_match(project: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no module 'shop\.modle' \(did you mean 'shop\.model'\?\)"):
        fingerprint("shop.modle:model", project)


@step
def here(value: int) -> int:
    return value


def test_a_step_stands_for_its_own_module(tmp_path: Path) -> None:
    assert __name__ in fingerprint(here, tmp_path)
    assert read_code(here, tmp_path) == read_code(here.function, tmp_path)


def test_a_function_typed_in_stands_for_its_code(tmp_path: Path) -> None:
    def typed(text: str) -> dict[str, str]:
        linecache.clearcache()
        space = {"__name__": "typed"}
        exec(compile(text, "<stdin>", "exec"), space)
        return fingerprint(space["fit"], tmp_path)

    first = typed("def fit(x):\n    return [x + 1 for _ in range(3)]")
    assert typed("\n\n# moved\ndef fit(x):\n    return [x + 1 for _ in range(3)]") == first
    assert typed("def fit(x):\n    return [x + 2 for _ in range(3)]") != first


def test_what_is_no_function_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="<built-in function len> is no Python function: wrap it in one"):
        fingerprint(len, tmp_path)


def test_a_module_that_runs_counts_as_it_was_loaded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit while the process goes on does not change what its steps do: a restart does."""
    monkeypatch.syspath_prepend(str(project))
    try:
        importlib.import_module("shop.units")
        before = fingerprint("shop.model:model", project)
        (project / "shop" / "units.py").write_text("def metres(x):\n    return x * 1001\n")
        assert fingerprint("shop.model:model", project) == before
        importlib.reload(sys.modules["shop.units"])
        assert fingerprint("shop.model:model", project) != before
    finally:
        for name in ("shop.units", "shop"):
            sys.modules.pop(name, None)
