"""What a server must be told, and whether it may start so."""

from __future__ import annotations

import ipaddress
import os
from importlib import util
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from everloop.errors import UsageError
from everloop.serving.batching import ALONE, Batching
from everloop.serving.clock import ClockName

__all__ = ["JournalMode", "Lookup", "ServeOptions", "check_options", "is_loopback"]

JournalMode = Literal["written", "durable", "buffered"]


class Lookup(msgspec.Struct, frozen=True):
    """Which `features` (`view:feature`) are looked up by which `keys`, where, and in how many `seconds` at most."""

    url: str
    features: tuple[str, ...]
    keys: tuple[str, ...]
    seconds: float = 0.25
    token: str | None = None


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one server process. Relative bundle paths of the plan lie in `root`; port 0 takes a free one.

    Without a `grpc_port` there is no gRPC.
    """

    plan: Path
    journal: Path
    keys: Path
    root: Path = Path(".")
    host: str = "127.0.0.1"
    port: int = 8080
    journal_mode: JournalMode = "written"
    clock: ClockName = "wall"
    max_body: int = 16_000_000
    token: str | None = None
    threads: int = 1
    max_requests: int = 1000
    timeout: float = 30.0
    batching: Batching = ALONE
    grpc_port: int | None = None
    workers: int = 1
    native: tuple[str, ...] | None = None
    """Types that models that are no graphs may hold; None refuses such models."""
    features: Lookup | None = None
    """What is looked up in an online store; without it requests bring all columns."""


def check_options(options: ServeOptions) -> None:
    """Raise `UsageError` for options that no server may start with."""
    if not is_loopback(options.host) and not options.token:
        raise UsageError(
            f"listening on {options.host} lets others send labels: give a token with --token-file, or stay on 127.0.0.1"
        )
    for token in (options.token, options.features.token if options.features else None):
        if token is not None and (not token.isascii() or not token.isprintable()):
            raise UsageError("a token must be one line of printable ASCII")
    for port in (options.port, options.grpc_port or 0):
        if not 0 <= port <= 65535:
            raise UsageError(f"port {port} lies outside 0 to 65535")
    if options.workers > 1 and not hasattr(os, "fork"):
        raise UsageError("this system cannot fork: serve with one worker")
    if options.grpc_port is not None and util.find_spec("grpc") is None:
        raise UsageError("gRPC needs a library that is not installed: pip install 'everloop[grpc]'")
    if options.batching.rows < 1 or not 0 <= options.batching.seconds < options.timeout:
        raise UsageError("a batch holds one row at least, and waits less than the timeout of a request")
    if options.features:
        _check_lookup(options.features)
    if min(options.max_body, options.threads, options.max_requests, options.workers) < 1 or not options.timeout > 0:
        raise UsageError(
            "the limits of bodies, threads, requests and workers must be at least 1, that of time more than 0"
        )


def _check_lookup(lookup: Lookup) -> None:
    names = [feature.rpartition(":")[2] for feature in lookup.features]
    if not (_is_server(lookup.url) and names and lookup.keys and lookup.seconds > 0):
        raise UsageError("an online feature store needs its URL, the features that are looked up and the keys for that")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two features of the online store are called {twice!r}, and a column is called after one")


def _is_server(url: str) -> bool:
    try:
        address = urlsplit(url)
        return address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # no port has this number
        return False


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a listener on `host`; a name other than localhost may be anything."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
