"""PostgreSQL: a base backup and archived WAL bring a lost cluster back to its last segment.

A cluster of its own, with the settings and the two scripts that
docs/operations/disaster-recovery.md gives; initdb refuses to run as root, so a user of no account
runs it then.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.operations.serving import free_port
from tests.support.waiting import wait_until
from utils.config import ROOT

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path("/usr/bin"))
NOBODY = 65534
POSTGRES_USER = NOBODY if os.geteuid() == 0 else None  # it refuses to run as root

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not (BIN / "initdb").exists(), reason="left out: no initdb here"),
]


class Cluster:
    """A cluster in a folder; as root its processes belong to nobody."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.archive = folder / "wal"
        self.port = free_port()
        self.folder = folder
        for path in (folder, self.archive):
            path.mkdir(exist_ok=True)
            self.own(path)

    def own(self, path: Path) -> None:
        if os.geteuid() == 0:
            for one in (path, *path.rglob("*")):
                os.chown(one, NOBODY, NOBODY)

    def tool(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(BIN / name), *arguments], cwd=self.folder, capture_output=True, text=True,
            check=False, timeout=60, user=POSTGRES_USER, group=POSTGRES_USER,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def configure(self, text: str) -> None:
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as stream:
            stream.write(text)

    def start(self) -> None:
        self.tool("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.folder / "log"), "start")

    def kill(self) -> None:
        self.tool("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", autocommit=True
        )


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    # Not in pytest's folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="openalgo-wal-") as folder:
        Path(folder).chmod(0o755)
        yield from _running(Path(folder))


def _running(folder: Path) -> Iterator[Cluster]:
    """A cluster that archives; stopped afterwards."""
    made = Cluster(folder)
    made.tool("initdb", "-D", str(made.data), "-U", "postgres", "-A", "trust", "-N")
    made.configure(
        f"port = {made.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
        "fsync = off\narchive_mode = on\narchive_timeout = 300\n"
        f"archive_command = '{ROOT}/scripts/archive_wal.sh {made.archive} %p %f'\n"
    )
    made.start()
    yield made
    subprocess.run(
        [str(BIN / "pg_ctl"), "-D", str(made.data), "-m", "immediate", "stop"], check=False,
        capture_output=True, user=POSTGRES_USER, group=POSTGRES_USER,
    )


def test_a_lost_cluster_comes_back_to_its_last_archived_segment(cluster: Cluster) -> None:
    with cluster.connect() as conn:
        conn.execute("CREATE TABLE orders (id int)")
        conn.execute("INSERT INTO orders VALUES (1)")
    base = cluster.folder / "base"
    cluster.tool(
        "pg_basebackup", "-h", "127.0.0.1", "-p", str(cluster.port), "-U", "postgres",
        "-D", str(base), "-c", "fast", "-X", "none",
    )
    with cluster.connect() as conn:
        conn.execute("INSERT INTO orders VALUES (2)")
        row = conn.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert row is not None
        segment = cluster.archive / str(row[0])
    wait_until(segment.exists, 30)
    cluster.kill()
    shutil.rmtree(cluster.data)

    shutil.copytree(base, cluster.data)
    cluster.data.chmod(0o700)
    (cluster.data / "recovery.signal").touch()
    cluster.configure(
        f"restore_command = '{ROOT}/scripts/restore_wal.sh {cluster.archive} %f %p'\n"
    )
    cluster.own(cluster.data)
    cluster.start()
    with cluster.connect() as conn:
        wait_until(
            lambda: conn.execute("SELECT pg_is_in_recovery()").fetchone() == (False,), 30
        )
        assert conn.execute("SELECT id FROM orders ORDER BY id").fetchall() == [(1,), (2,)]


def test_a_segment_is_never_overwritten(tmp_path: Path) -> None:
    source, archive = tmp_path / "segment", tmp_path / "wal"
    archive.mkdir()
    source.write_bytes(b"one")
    script = str(ROOT / "scripts" / "archive_wal.sh")

    def keep() -> int:
        return subprocess.run(
            [script, str(archive), str(source), "000000010000000000000001"], check=False,
            capture_output=True,
        ).returncode

    assert (keep(), keep()) == (0, 0)  # the same again is no fault: PostgreSQL may ask twice
    source.write_bytes(b"two")
    assert keep() == 1
    assert (archive / "000000010000000000000001").read_bytes() == b"one"
    assert [path.name for path in archive.iterdir()] == ["000000010000000000000001"]
