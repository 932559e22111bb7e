"""The methods of a rollback: which programs are called with which names, and how each one fails.

git is real; systemctl, docker and supervisorctl are stand-ins on PATH that note how they were
called. A little HTTP server stands in for the gateway; IV2 with the real one is in
tests/operations/test_rollback.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from database import flags
from database.engine import Database
from scripts.rescue import record
from scripts.rescue.installation import find
from scripts.rescue.rollback import main
from scripts.rescue.service import Service
from scripts.rescue.statuses import Status
from tests.support.databases import NOON, sqlite_database
from utils.config import ROOT

KEY = "an-api-key-for-tests"


class Gateway:
    """What a gateway would answer."""

    def __init__(self) -> None:
        self.brokers = {"wisdom": True}
        self.book_status = 200
        self.ready = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/health/ready":
                    self._send(200 if outer.ready else 503, {})
                    return
                assert self.headers["X-API-KEY"] == KEY
                rows = [
                    {"name": name, "connected": connected,
                     "accounts": [{"account": name, "connected": connected}]}
                    for name, connected in outer.brokers.items()
                ]
                self._send(200, {"data": rows})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._send(outer.book_status, {"message": "The order book can't be read."})

            def _send(self, status: int, body: Any) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Host:
    """A host with two releases, a database, and stand-ins for what serves."""

    def __init__(self, folder: Path, database: Database, gateway: Gateway) -> None:
        self.folder = folder
        self.database = database
        self.gateway = gateway
        self.base = folder / "opt"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.env_file = folder / "openalgo.env"
        self.key_file = folder / "key"
        self.state = folder / "state"
        for path in (self.bin, self.state, folder / "log"):
            path.mkdir()
        for version in ("1", "2"):
            (self.base / "releases" / version).mkdir(parents=True)
        (self.base / "current").symlink_to("releases/2")
        self.key_file.write_text(KEY, encoding="utf-8")
        url = f"sqlite:///{database.url.database}"
        self.env_file.write_text(
            f"# kept\nPORT={gateway.port}\nDATABASE_URL={url}\nLOG_DIR={folder / 'log'}\n"
            "JAINAM_ENABLED=true\n", encoding="utf-8",
        )

    def stand_in(self, name: str, body: str = "exit 0") -> None:
        script = self.bin / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.calls}\n{body}\n', "utf-8")
        script.chmod(0o755)

    def called(self) -> list[str]:
        if not self.calls.exists():
            return []
        lines = self.calls.read_text(encoding="utf-8").splitlines()
        self.calls.unlink()
        return lines

    def run(self, *options: str, app: Path | None = None, method: str = "systemd") -> int:
        return main(
            ["--app", str(app or self.base), "--env-file", str(self.env_file), "--state",
             str(self.state), "--api-key-file", str(self.key_file), "--method", method,
             "--yes", "--wait", "0.5", *options],
            ROOT, {"PATH": os.environ["PATH"]},
        )

    def served(self) -> str:
        return (self.base / "current").resolve().name

    def switch(self) -> str | None:
        with self.database.read() as conn:
            return flags.get(conn, "broker.jainam_prop")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    (tmp_path / "db").mkdir()
    with sqlite_database(tmp_path / "db") as database:
        gateway = Gateway()
        made = Host(tmp_path, database, gateway)
        monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
        made.stand_in("systemctl")
        try:
            yield made
        finally:
            gateway.server.shutdown()
            gateway.server.server_close()


def test_systemd_stops_exchanges_and_starts_its_units(host: Host) -> None:
    assert host.run("--service", "openalgo,openalgo-feed") == Status.OK
    assert host.called() == [
        "systemctl stop openalgo.service openalgo-feed.service",
        "systemctl start openalgo.service openalgo-feed.service",
    ]
    assert host.served() == "1"
    assert host.switch() == "off"
    text = host.env_file.read_text(encoding="utf-8")
    assert text.startswith("# kept\n") and "JAINAM_ENABLED=false\n" in text
    assert "JAINAM_ENABLED=true" not in text


def test_each_step_alone_and_the_way_back(host: Host) -> None:
    assert host.run("--step", "1") == Status.OK
    assert (host.switch(), host.served(), host.called()) == ("off", "2", [])
    assert host.run("--step", "3") == Status.OK
    assert host.served() == "1"
    assert host.run("--step", "4") == Status.OK
    host.gateway.brokers["jainam_prop"] = True
    assert host.run("--undo") == Status.OK
    assert (host.switch(), host.served()) == (None, "2")
    assert "JAINAM_ENABLED=true\n" in host.env_file.read_text(encoding="utf-8")
    assert host.run("--undo") == Status.NOTHING_TO_UNDO


def test_twice_goes_back_one_release_only(host: Host) -> None:
    for version in ("0", "1"):
        (host.base / "releases" / version).mkdir(exist_ok=True)
        os.utime(host.base / "releases" / version, (int(version), int(version)))
    assert host.run() == Status.OK
    assert host.run() == Status.OK
    assert host.served() == "1"


def test_what_was_deployed_before_decides_not_the_age_of_a_folder(host: Host) -> None:
    (host.base / "releases" / "3").mkdir()
    lines = [
        {"version": "3", "outcome": "deployed"}, {"version": "1", "outcome": "failed"},
        {"version": "2", "outcome": "deployed"},
    ]
    (host.state / "deployments.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    assert host.run() == Status.OK
    assert host.served() == "3"


def test_the_journal_answers_where_no_application_can(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.run("--step", "0") == Status.OK
    said = capsys.readouterr().out
    assert "NOT KNOWN: the broker's books could not be read" in said
    assert "Working orders: 0 (the journal, which is not the broker's book)" in said
    assert "Open positions: 0" not in said
    assert "NOTE: without the symbols (step 2) a position can be closed only" in said
    assert host.run("--step", "0", "--keep-symbols") == Status.OK
    assert "NOTE" not in capsys.readouterr().out


def test_a_step_names_itself_alone_and_a_broker_goes_without_an_older_release(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    (host.base / "releases" / "1").rmdir()
    assert host.run("--step", "1") == Status.OK
    assert host.switch() == "off"
    plan = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert [line[:4] for line in plan] == ["  1 "]
    assert host.run() == Status.NO_RELEASE
    assert "--keep-code" in capsys.readouterr().err
    assert host.run("--dry-run", "--keep-code") == Status.OK
    said = capsys.readouterr().out
    assert "  3  restart, with 2 as it is" in said
    assert "This was a dry run: nothing was changed" in said


def test_a_service_that_does_not_start_says_why_and_where_the_log_is(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.stand_in("supervisorctl", "test $1 = stop || { echo 'openalgo: ERROR (spawn)'; exit 7; }")
    python = host.base / "releases" / "1" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'PORT: should be a number' >&2; exit 1\n", "utf-8")
    python.chmod(0o755)
    assert host.run("--step", "3", "--to", "1", method="supervisor") == Status.NOT_STARTED
    said = capsys.readouterr().err
    assert "supervisorctl start openalgo: openalgo: ERROR (spawn)" in said
    assert "PORT: should be a number" in said
    log = host.state / "rollback" / "open" / "rollback.log"
    assert str(log.resolve()) in said and "give the same command again" in said
    assert "FAILED (42): The service was not started" in log.read_text(encoding="utf-8")


def test_what_serves_is_listed_after_the_way_back_too(host: Host) -> None:
    assert host.run() == Status.OK
    assert host.run() == Status.OK  # nothing is exchanged, so nothing is listed
    host.gateway.brokers["jainam_prop"] = True
    assert host.run("--undo") == Status.OK
    lines = (host.state / "deployments.jsonl").read_text(encoding="utf-8").splitlines()
    listed = [(entry["version"], entry["outcome"]) for entry in map(json.loads, lines)]
    assert listed == [("1", "rolled_back"), ("2", "deployed")]


def test_the_variables_are_those_that_the_release_reads(host: Host) -> None:
    (host.base / "releases" / "2" / ".env").symlink_to(host.env_file)
    found = find(host.base, app="", env_file="", state=str(host.state), environ={})
    assert found.env_file == host.env_file


@pytest.mark.parametrize(
    ("options", "status"),
    [(("--cancel-orders",), Status.ORDERS_LEFT), (("--square-off",), Status.POSITIONS_LEFT)],
)
def test_orders_that_nobody_can_end_stop_it_with_entries_off(
    host: Host, options: tuple[str, ...], status: Status
) -> None:
    assert host.run(*options) == status
    assert host.switch() == "off"
    assert host.served() == "2"


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.com", *words],
        capture_output=True, text=True, check=True,
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    _git(folder, "init", "-q")
    for number in ("1", "2"):
        (folder / "app.py").write_text(f"VERSION = {number}\n", encoding="utf-8")
        _git(folder, "add", "-A")
        _git(folder, "commit", "-qm", f"Release {number}")
        _git(folder, "tag", f"v{number}")
    return folder


def test_git_checks_the_older_tag_out_and_back(host: Host, checkout: Path) -> None:
    newest = _git(checkout, "rev-parse", "HEAD")
    commands = ("--stop-command", "systemctl stop mine", "--start-command", "systemctl start mine")
    assert host.run(*commands, app=checkout, method="git") == Status.OK
    assert _git(checkout, "rev-parse", "HEAD") == _git(checkout, "rev-parse", "v1")
    assert host.called() == ["systemctl stop mine", "systemctl start mine"]
    host.gateway.brokers["jainam_prop"] = True
    assert host.run("--undo", *commands, app=checkout, method="git") == Status.OK
    assert _git(checkout, "rev-parse", "HEAD") == newest


def test_git_does_not_run_over_changes(host: Host, checkout: Path) -> None:
    (checkout / "app.py").write_text("by hand\n", encoding="utf-8")
    assert host.run("--start-command", "true", app=checkout, method="git") == Status.NOT_SWITCHED
    assert (checkout / "app.py").read_text(encoding="utf-8") == "by hand\n"


def test_nothing_that_starts_it_is_said(host: Host, checkout: Path) -> None:
    assert host.run(app=checkout, method="git") == Status.NOT_STARTED
    assert host.run("--step", "4", app=checkout, method="git") == Status.OK


def test_the_way_back_ends_after_a_restart_by_hand(
    host: Host, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = _git(checkout, "rev-parse", "HEAD")
    assert host.run(app=checkout, method="git") == Status.NOT_STARTED
    assert host.run("--undo", app=checkout, method="git") == Status.NOT_STARTED
    assert "restart it, then give --undo again to verify" in capsys.readouterr().err
    assert host.run("--undo", app=checkout, method="git") == Status.NOT_BROUGHT_BACK
    host.gateway.brokers["jainam_prop"] = True
    assert host.run("--undo", app=checkout, method="git") == Status.OK
    assert _git(checkout, "rev-parse", "HEAD") == newest
    assert host.run("--undo", app=checkout, method="git") == Status.NOTHING_TO_UNDO


def test_docker_names_the_service_and_the_tag(host: Host, tmp_path: Path) -> None:
    app = tmp_path / "compose"
    app.mkdir()
    (app / "docker-compose.yml").write_text("services: {}\n", encoding="utf-8")
    with host.env_file.open("a", encoding="utf-8") as stream:
        stream.write("OPENALGO_VERSION=2.0\n")
    (host.state / "deployments.jsonl").write_text(
        '{"version": "1.9", "outcome": "deployed"}\n{"version": "2.0", "outcome": "deployed"}\n',
        encoding="utf-8",
    )
    host.stand_in("docker-compose")
    assert host.run(app=app, method="docker") == Status.OK
    head = (f"docker-compose --project-directory {app} -f {app}/docker-compose.yml "
            f"--env-file {host.env_file}")
    calls = host.called()
    assert f"{head} stop openalgo" in calls
    assert f"{head} up -d --no-deps openalgo" in calls
    assert "OPENALGO_VERSION=1.9\n" in host.env_file.read_text(encoding="utf-8")


def test_supervisor_is_found_and_called_by_its_name(host: Host) -> None:
    host.stand_in("systemctl", "exit 1")
    host.stand_in("supervisorctl")
    options = ["--app", str(host.base), "--env-file", str(host.env_file), "--state",
               str(host.state), "--api-key-file", str(host.key_file), "--yes", "--wait", "1"]
    assert main(options, ROOT, {"PATH": os.environ["PATH"]}) == Status.OK
    calls = host.called()
    assert "supervisorctl stop openalgo" in calls and "supervisorctl start openalgo" in calls


@pytest.mark.parametrize(("end", "status"), [(0, 0), (3, 0), (1, 31)])
def test_a_backup_is_restored_while_nothing_serves(host: Host, end: int, status: int) -> None:
    script = host.base / "releases" / "2" / "scripts" / "restore_database.sh"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "restore $*" >> {host.calls}\nexit {end}\n', "utf-8")
    script.chmod(0o755)
    assert host.run("--restore-backup", "backup-20260115-1030") == status
    calls = host.called()
    assert calls[:2] == [
        "systemctl stop openalgo.service",
        f"restore backup-20260115-1030 --yes --env-file {host.env_file}",
    ]
    assert host.switch() == "off"
    assert host.served() == ("1" if status == 0 else "2")


def test_no_release_that_could_restore_is_said(host: Host) -> None:
    assert host.run("--restore-backup", "latest") == Status.BACKUP_NOT_RESTORED


def test_a_release_is_exchanged_without_a_gap_where_systemd_runs_it(host: Host) -> None:
    here = find(ROOT, app=str(host.base), env_file=str(host.env_file), state=str(host.state),
                environ={"PATH": os.environ["PATH"]})
    Service(here, "systemd", names=("openalgo", "openalgo-feed")).replace()
    assert host.called() == [
        "systemctl is-active --quiet openalgo.service",
        "systemctl kill --kill-whom=main -s USR2 openalgo.service",
        "systemctl restart openalgo-feed.service",
    ]
    host.stand_in("systemctl", 'test "$1" != is-active')
    Service(here, "systemd").replace()
    assert host.called()[1:] == [
        "systemctl stop openalgo.service", "systemctl start openalgo.service",
    ]
    host.stand_in("supervisorctl")
    Service(here, "supervisor").replace()
    assert host.called() == ["supervisorctl stop openalgo", "supervisorctl start openalgo"]


def test_every_failure_has_its_status(host: Host, tmp_path: Path) -> None:
    host.gateway.brokers["jainam_prop"] = True
    assert host.run() == Status.STILL_LISTED
    del host.gateway.brokers["jainam_prop"]
    host.gateway.book_status = 503
    assert host.run("--step", "4") == Status.OTHERS_BROKEN
    host.gateway.book_status = 200
    host.gateway.ready = False
    assert host.run("--step", "4") == Status.NO_ANSWER
    host.gateway.ready = True
    line = {"time": "2999-01-01T00:00:00.000Z", "level": "ERROR", "message": "it broke"}
    log = tmp_path / "log" / "error.log"
    log.write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert host.run("--step", "4") == Status.ERRORS_LOGGED
    log.write_text(json.dumps({**line, "time": "2001-01-01T00:00:00.000Z"}) + "\n", "utf-8")
    assert host.run("--step", "4") == Status.OK
    host.stand_in("systemctl", "echo 'no such unit' >&2; exit 5")
    assert host.run("--undo") == Status.NOT_STARTED
    assert host.run("--broker", "no/name") == Status.USAGE
    assert host.run("--app", str(tmp_path / "nothing")) == Status.NOT_FOUND


def test_a_missing_release_or_database_is_said(host: Host) -> None:
    (host.base / "releases" / "1").rmdir()
    assert host.run() == Status.NO_RELEASE
    assert host.run("--to", "9", "--step", "3") == Status.NO_RELEASE
    host.database.dispose()
    for path in Path(str(host.database.url.database)).parent.glob("*.db*"):
        path.unlink()
    assert host.run("--keep-code", "--step", "1") == Status.OK  # the file of variables is enough
    (host.folder / "db" / "symbols.db").write_bytes(b"no database" * 100)
    assert host.run("--keep-code", "--step", "2") == Status.SYMBOLS_NOT_REMOVED


def test_two_at_once_and_no_terminal_are_refused(host: Host) -> None:
    with record.alone(host.state):
        assert host.run() == Status.BUSY
    asked = main(
        ["--app", str(host.base), "--env-file", str(host.env_file), "--state", str(host.state),
         "--method", "systemd"], ROOT, {"PATH": os.environ["PATH"]},
    )
    assert asked == Status.USAGE
    assert host.switch() is None


def test_a_dry_run_changes_nothing(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    before = host.env_file.read_bytes()
    assert host.run("--dry-run", "--cancel-orders") == Status.OK
    said = capsys.readouterr().out
    for text in ("cancel its working orders", "JAINAM_ENABLED=false", "return from 2 to 1"):
        assert text in said
    assert (host.env_file.read_bytes(), host.served(), host.switch()) == (before, "2", None)
    assert host.called() == []
    with host.database.write() as conn:
        flags.set_flag(conn, "other", "on", at=NOON)
    assert host.run("--undo", "--dry-run") == Status.NOTHING_TO_UNDO
