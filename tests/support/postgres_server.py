"""A PostgreSQL cluster of one's own, to be killed and started again by the test that has it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.servers import free_port
from tests.support.waiting import wait_until

_ACCOUNTS = ("postgres", "nobody")
_START_SECONDS = 60.0


def programs() -> Path | None:
    """The folder of the newest installed server; None without one."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    if found is not None:
        candidates.append(Path(found).resolve().parent)
    return next((path for path in candidates if (path / "postgres").exists()), None)


class PostgresServer:
    """A cluster in a folder of its own, on a free port of loopback, owned by no privileged user."""

    def __init__(self, folder: Path) -> None:
        found = programs()
        assert found is not None, "no PostgreSQL server is installed"
        self._programs = found
        self._data = folder / "data"
        self.port = free_port()
        self.url = f"postgresql://gateway@127.0.0.1:{self.port}/postgres"
        self._owner = _unprivileged()
        if self._owner is not None:
            os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)
        self._run(
            "initdb", "-D", str(self._data), "-U", "gateway", "-A", "trust", "-N", "-E", "UTF8",
            "--locale=C",
        )
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\n"
                "unix_socket_directories = ''\nshared_buffers = 16MB\nmax_connections = 60\n"
            )

    @property
    def pid(self) -> int:
        """The process to kill; 0 while there is none."""
        try:
            return int((self._data / "postmaster.pid").read_text().split()[0])
        except (OSError, IndexError, ValueError):
            return 0

    def start(self) -> None:
        """Start it (again) and wait until it answers; after a kill it recovers by itself."""

        def started() -> bool:
            # What the killed server's last processes still hold makes a start fail for a moment.
            return self._control("start", "-w", "-t", "30", "-l", str(self._data / "log")) == 0

        wait_until(started, _START_SECONDS)

    def stop(self) -> None:
        """End it at once."""
        self._control("stop", "-m", "immediate")

    def kill(self) -> None:
        """`kill -9`: no clean end of anything."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _control(self, *arguments: str) -> int:
        return self._run("pg_ctl", "-D", str(self._data), *arguments, check=False)

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        owner = self._owner
        return subprocess.run(
            [str(self._programs / program), *arguments],
            check=check,
            cwd=self._data.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=None if owner is None else owner.pw_uid,
            group=None if owner is None else owner.pw_gid,
            extra_groups=None if owner is None else [],
        ).returncode


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as: it refuses root. None: as whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    for name in _ACCOUNTS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise LookupError("there is no unprivileged user to run PostgreSQL as")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running cluster, gone at the end."""
    # Not below a folder of pytest's, which other users cannot enter.
    with tempfile.TemporaryDirectory(prefix="openalgo-postgres-") as folder:
        server = PostgresServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
