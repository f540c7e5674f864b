"""What is written must be true: commands, settings, links, requests; and every public name says what it promises."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

import everloop
from everloop.cli import app
from everloop.serving.protocol import decode_explain, decode_feedback, decode_infer
from everloop.settings import Section, Settings, parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(kind: str) -> list[tuple[str, str]]:
    found = [(page.name, kind_, body) for page in PAGES for kind_, body in FENCE.findall(page.read_text())]
    return [(name, body) for name, kind_, body in found if kind_ == kind]


def command_lines() -> list[tuple[str, str]]:
    shown = [(name, line.split("#")[0].strip()) for name, body in blocks("") for line in body.splitlines()]
    inline = [
        (p.name, code) for p in PAGES for code in re.findall(r"`((?:everloop|make|python) [^`]+)`", p.read_text())
    ]
    return [(name, line) for name, line in shown + inline if line]


@cache
def verbs() -> dict[str, Any]:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return commands


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_command_in_the_docs_exists(page: str, line: str) -> None:
    words = shlex.split(line)
    if words[0] == "everloop":
        verb = verbs()[words[1]]
        for word in words[2:]:
            verb = getattr(verb, "commands", {}).get(word, verb)
        options = {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {w for w in words[2:] if w.startswith("--")} <= options | {"--help"}, page
    elif words[0] == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert words[1] in targets, page
    elif words[0] == "python":
        assert words[1] == "-m" or (ROOT / words[1]).exists(), page
    else:
        assert words[0] in {"cp", "mkdir", "cd", "curl", "pip", "dvc"}, page


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_a_project_file_in_the_docs_is_one(page: str, text: str) -> None:
    assert tomllib.loads(text), page
    assert parse(text).project.name


@pytest.mark.parametrize(("page", "text"), blocks("json"))
def test_a_request_in_the_docs_is_one(page: str, text: str) -> None:
    body = json.loads(text)
    decode = decode_infer if "inputs" in body else decode_explain if "prediction_id" in body else decode_feedback
    assert decode(text.encode()), page


def sections(struct: type[msgspec.Struct], name: str) -> dict[str, dict[str, Any]]:
    """Return the keys of a table and of the tables in it, with their defaults."""
    found: dict[str, dict[str, Any]] = {name: {}}
    for field in msgspec.structs.fields(struct):
        options = getattr(field.type, "__args__", (field.type,))
        inner = next((t for t in options if isinstance(t, type) and issubclass(t, Section)), None)
        default = (
            field.default_factory()
            if field.default is msgspec.NODEFAULT and callable(field.default_factory)
            else field.default
        )
        if inner:
            found |= sections(inner, f"{name}.{field.name}" if name else field.name)
        if inner is None or name:
            found[name][field.name] = ("on" if isinstance(default, Section) else "off") if inner else default
    return found


def test_the_reference_lists_every_key_with_its_default() -> None:
    written: dict[str, dict[str, str]] = {}
    section = ""
    for line in (ROOT / "docs" / "project-file.md").read_text().splitlines():
        if heading := re.match(r"## \[([\w.]+)\]", line):
            section = heading[1]
            written[section] = {}
        elif row := re.match(r"\| `(\w+)` \| ([^|]+) \|", line):
            written[section][row[1]] = row[2].strip()
    expected = {name: keys for name, keys in sections(Settings, "").items() if name}
    expected["gates"] = {}
    assert set(written) == set(expected)
    for name, keys in expected.items():
        if name != "gates":
            assert written[name] == {key: _shown(value) for key, value in keys.items()}, name


def _shown(value: Any) -> str:
    if value is msgspec.NODEFAULT:
        return "needed"
    if value is None:
        return "none"
    return value if value in ("on", "off") else f"`{json.dumps(value)}`"


def test_help_keeps_the_names_of_tables() -> None:
    for file in sorted((ROOT / "src" / "everloop" / "cli").glob("*.py")):
        for text in re.findall(r'help="([^"]*)"', file.read_text()):
            assert not re.search(r"(?<!\\)\[[a-z]", text), f"{file.name}: {text!r} loses a table's name: write \\\\["


def test_links_and_pictures_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def modules() -> list[str]:
    """All but what starts by itself: `__main__`, and scripts for other environments."""
    found = [m.name for m in pkgutil.walk_packages(everloop.__path__, "everloop.")]
    return [name for name in found if not re.search(r"\.(__main__|inside_\w+)$", name)]


@pytest.mark.parametrize("name", modules())
def test_every_public_name_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} says nothing"
    for public in getattr(module, "__all__", []):
        value = getattr(module, public)
        if not (inspect.isclass(value) or inspect.isfunction(value)) or not value.__module__.startswith("everloop"):
            continue
        assert value.__doc__, f"{name}.{public}"
        assert not value.__doc__.startswith(f"{public}("), f"{name}.{public} has no words of its own"
        if inspect.isclass(value):
            for method, function in vars(value).items():
                told = function.__func__ if isinstance(function, classmethod | staticmethod) else function
                if (
                    not method.startswith("_")
                    and inspect.isfunction(told)
                    and len(inspect.signature(told).parameters) > 1
                ):
                    assert told.__doc__, f"{name}.{public}.{method}"


def test_the_tree_names_no_machine() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    forbidden = re.compile(
        r"(?:/work|/root|/home/\w+)/|files\.pythonhosted|https?://[\w.-]*(?:artifactory|nexus|pypi)[\w.-]*/"
    )
    for name in files:
        path = ROOT / name
        if path.suffix in {".png", ".onnx"} or not path.is_file() or path == Path(__file__):
            continue
        found = forbidden.search(path.read_text(errors="replace"))
        assert not found, f"{name}: {found and found[0]}"


def test_the_page_on_pipelines_runs(tmp_path: Path) -> None:
    code = "\n".join(text for page, text in blocks("python") if page == "pipelines.md")
    (tmp_path / "page.py").write_text(code)
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = "[('years', 'ran'), ('fetch[0]', 'ran'), ('fetch[1]', 'ran'), ('fetch', 'ran'), ('sizes', 'ran')]"
    assert done.stdout == f"[13, 13]\n[13, 13] {told}\n"
