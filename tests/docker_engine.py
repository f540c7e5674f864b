"""A real Docker engine, and a base image with this Python, made from Debian's packages: nothing is pulled."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BASE = "everloop-test-base:bookworm"


@contextlib.contextmanager
def engine() -> Iterator[str]:
    """Start an engine unless one answers; gives the base image. Skips, with the reason, where there can be none."""
    if not shutil.which("dockerd"):
        pytest.skip("the Docker engine is not installed")
    started = None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as state:  # a layer may still be mounted
        if not answers():
            how = ["--iptables=false", "--bridge=none", "--data-root", f"{state}/docker"]
            with Path(state, "log").open("wb") as log:
                command = ["dockerd", *how, "--exec-root", f"{state}/exec", "--pidfile", f"{state}/pid"]
                started = subprocess.Popen(command, stdout=log, stderr=log)
            deadline = time.monotonic() + 60
            while not answers():
                if started.poll() is not None or time.monotonic() > deadline:
                    started.kill()
                    pytest.skip(f"no Docker engine starts here: {Path(state, 'log').read_text()[-300:]}")
                time.sleep(0.2)
        try:
            make_base()
            yield BASE
        finally:
            if started:
                started.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    started.wait(120)
                started.kill()
                started.wait()


def answers() -> bool:
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def make_base() -> None:
    """Import a minimal Debian with Python, unless it is there."""
    if subprocess.run(["docker", "image", "inspect", BASE], capture_output=True, check=False).returncode == 0:
        return
    if not shutil.which("debootstrap"):
        pytest.skip("debootstrap, which makes the base image, is not installed")
    with tempfile.TemporaryDirectory() as folder:
        packages = "--include=python3,ca-certificates,libgomp1"
        subprocess.run(
            ["debootstrap", "--variant=minbase", packages, "bookworm", folder], check=True, capture_output=True
        )
        with subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(["docker", "import", "-", BASE], stdin=tar.stdout, check=True, capture_output=True)
