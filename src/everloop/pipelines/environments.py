"""Environments of steps: built by uv where they are first needed, named by the hash of what was declared, shared."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import msgspec

from everloop.errors import SystemError_, UsageError
from everloop.pipelines.declared import Environment

__all__ = ["build", "build_from", "everloop_name", "everloop_source", "place_of", "uv", "uv_environment"]

_LAST_LINES = 12
LOCK = "lock.txt"
"""What uv resolved, a distribution a line; written last: without it an environment is not whole."""


def build(environment: Environment) -> Path:
    """Return the Python of an environment; it is built first where this machine has none.

    Processes that ask at the same time wait for one that builds. Raises UsageError with uv's own reason where the
    packages cannot be had together.
    """
    wanted = environment.python or f"{sys.version_info[0]}.{sys.version_info[1]}"

    def install(python: Path) -> None:
        if environment.packages:
            uv("pip", "install", "--python", str(python), *environment.packages)

    return _built(place_of(environment), wanted, install)


def build_from(requirements: str) -> Path:
    """Return the Python of an environment with what a requirements file names, and this Everloop, installed last.

    Pins with hashes are held to them. Raises UsageError with uv's own reason.
    """
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    place = place_of(Environment((requirements, everloop_name()), version))
    return _built(place, version, lambda python: _install_from(place, python, requirements))


def everloop_source() -> str:
    """Return what uv installs Everloop from: the folder this one was installed from, else its version."""
    told = metadata.distribution("everloop").read_text("direct_url.json")
    url = msgspec.json.decode(told)["url"] if told else ""
    return url.removeprefix("file://") if url.startswith("file://") else f"everloop=={metadata.version('everloop')}"


def everloop_name() -> str:
    """Return what tells this Everloop from any other: its version, and its files where a folder holds its sources."""
    version = metadata.version("everloop")
    if everloop_source() == f"everloop=={version}":
        return version
    digest, package = hashlib.sha256(), Path(str(files("everloop")))
    for file in sorted(path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(f"{file.relative_to(package)}\0".encode() + file.read_bytes())
    return f"{version}+{digest.hexdigest()[:16]}"


def place_of(environment: Environment) -> Path:
    """Return where an environment lies, built or not: below the user's cache, or `$EVERLOOP_ENVIRONMENTS`."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("EVERLOOP_ENVIRONMENTS") or Path(cache, "everloop", "environments")) / environment.hash


def _built(place: Path, version: str, install: Callable[[Path], None]) -> Path:
    python = place / "bin" / "python"
    if (place / LOCK).is_file():
        return python
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".building").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (place / LOCK).is_file():
            shutil.rmtree(place, ignore_errors=True)  # of one that was cut off
            uv("venv", "--python", _interpreter(version), str(place))
            install(python)
            frozen = uv("pip", "freeze", "--python", str(python))
            (place / LOCK).write_text(frozen, encoding="utf-8")
    return python


def _interpreter(version: str) -> str:
    """Return what uv is told to begin with: this very Python where it has the version, wherever it lies."""
    return sys.executable if version == f"{sys.version_info[0]}.{sys.version_info[1]}" else version


def _install_from(place: Path, python: Path, requirements: str) -> None:
    file = place / "requirements.txt"
    file.write_text(requirements, encoding="utf-8")
    uv("pip", "install", "--python", str(python), "-r", str(file))
    uv("pip", "install", "--python", str(python), "--no-deps", everloop_source())


def uv(*arguments: str) -> str:
    """Run uv and return what it prints; raises UsageError with its reason where it refuses."""
    try:
        done = subprocess.run(
            [_uv(), "--quiet", *arguments], env=uv_environment(os.environ), capture_output=True, text=True, check=False
        )  # fmt: skip
    except OSError as error:
        raise SystemError_(f"uv, which builds environments, does not start: {error.strerror}") from error
    if done.returncode:
        reason = "\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        raise UsageError(f"the environment cannot be built (uv {' '.join(arguments[:2])}): {reason}")
    return done.stdout


def uv_environment(told: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for uv: what the machine says to pip holds for it too, unless it is told otherwise."""
    found = dict(told)
    for pip, name in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_EXTRA_INDEX_URL", "UV_INDEX")):
        if told.get(pip):
            found.setdefault(name, told[pip])
    if told.get("PIP_FIND_LINKS"):
        found.setdefault("UV_FIND_LINKS", ",".join(told["PIP_FIND_LINKS"].split()))
    if told.get("PIP_CERT"):
        found.setdefault("SSL_CERT_FILE", told["PIP_CERT"])
    found.setdefault("UV_HTTP_TIMEOUT", told.get("PIP_DEFAULT_TIMEOUT", "60"))
    return {name: value for name, value in found.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}


def _uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise UsageError("a step has an environment of its own, which uv builds: pip install uv")
    return found
