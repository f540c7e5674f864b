"""A real PostgreSQL server of our own, and empty databases on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa


@contextlib.contextmanager
def postgresql_server() -> Iterator[str]:
    """Run a server on a unix socket, as an unprivileged user; gives the URL of its maintenance database."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="no psycopg here: install everloop[postgresql]")
    folder = Path(tempfile.mkdtemp(prefix="everloop-postgresql-"))
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres")
    tool = binaries[-1].parent

    def call(*command: str) -> None:
        done = subprocess.run([*user, *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    try:
        call(str(tool / "initdb"), "-D", str(folder / "data"), "-U", "everloop", "-A", "trust", "-N", "-E", "UTF8")
        options = f"-F -c listen_addresses='' -c unix_socket_directories='{folder}'"
        call(str(tool / "pg_ctl"), "-D", str(folder / "data"), "-l", str(folder / "log"), "-w", "-o", options, "start")
        yield f"postgresql://everloop@/postgres?host={folder}"
        call(str(tool / "pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str) -> str:
    """Make an empty database on a server and return its URL."""
    maintenance = sa.make_url(server).set(drivername="postgresql+psycopg")
    name = f"test_{os.urandom(6).hex()}"
    engine = sa.create_engine(maintenance, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return maintenance.set(database=name).render_as_string(hide_password=False)
