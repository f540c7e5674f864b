"""Real local servers of both object protocols, each in a process of its own, and what a client needs to reach them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

NOBODY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def s3_server(bucket: str) -> Iterator[dict[str, str]]:
    """Run moto's S3 with one bucket; gives the environment that clients need."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], url):
        _put(f"{url}/{bucket}")
        yield {**NOBODY, "AWS_ENDPOINT_URL": url}


@contextlib.contextmanager
def gs_server(bucket: str) -> Iterator[dict[str, str]]:
    """Run the Cloud Storage emulator with one bucket; gives the environment that clients need."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    start = (
        "from gcp_storage_emulator.server import create_server; import threading;"
        f"server = create_server('127.0.0.1', {port}, in_memory=True, default_bucket={bucket!r});"
        "server.start(); threading.Event().wait()"
    )
    with _running([sys.executable, "-W", "ignore", "-c", start], f"{url}/storage/v1/b/{bucket}"):
        yield {"STORAGE_EMULATOR_HOST": url}


@contextlib.contextmanager
def _running(command: list[str], answers: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not _answers(answers):
            assert process.poll() is None, f"{command[2]} ended"
            assert time.monotonic() < deadline, f"{command[2]} does not answer"
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500 and error.code != 404
    except OSError:
        return False


def _put(url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5):
        pass
