"""The troubleshooting guide: each problem is provoked, shows its symptom, and is cured.

One gateway goes through the problems in few starts, because a start is what takes time. A symptom
is looked for in the guide's own words, so that guide and message cannot drift apart.
"""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.servers import PROFILE, Served
from simulator.testing import credential
from tests.operations.serving import wait_for
from tests.support.guide import symptoms
from tests.support.postgres_server import postgres_server
from tests.support.redis_server import redis_server
from utils.config import ROOT

ORDER = {
    "strategy": "trouble", "symbol": "INFY", "exchange": "NSE", "action": "BUY",
    "quantity": "1", "pricetype": "MARKET", "product": "MIS",
}  # fmt: skip
PASSWORD = "a long enough password, 42"


class Patient:
    """A gateway that is made ill and cured by its environment."""

    def __init__(self, served: Served) -> None:
        self.served = served

    def restart(self, **changes: str | None) -> None:
        """End it, change variables (None removes one) and start it again."""
        self.served.gateway.stop()
        for name, value in changes.items():
            if value is None:
                self.served.environ.pop(name, None)
            else:
                self.served.environ[name] = value
        self.served.restart()

    def call(self, path: str, **body: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        """POST with the key; status, body and headers whatever the status."""
        request = urllib.request.Request(
            f"{self.served.url}/api/v1/{path}",
            json.dumps({"apikey": self.served.key, **body}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), dict(error.headers)

    def order(self) -> tuple[int, dict[str, Any], dict[str, str]]:
        return self.call("placeorder", **ORDER)

    def status_of(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"{self.served.url}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def health(self) -> dict[str, Any]:
        """What `/health` tells on this machine, whatever its status."""
        try:
            with urllib.request.urlopen(f"{self.served.url}/health", timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            found = json.load(error)
        return found

    def fails(self, *command: str) -> str:
        """What a command says that does not succeed."""
        with pytest.raises(RuntimeError) as caught:
            self.served.flask(*command)
        return str(caught.value)


def told(said: str, heading: str) -> bool:
    """Whether every message that the guide quotes as the symptom stands in what was said."""
    quoted = symptoms(heading)
    assert quoted, f"the guide quotes no message under {heading!r}"
    return all(message in said for message in quoted)


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    """Several things are wrong at its first start: a secret, metrics, and no master contract."""
    wrong = {
        "JAINAM_INTERACTIVE_API_SECRET": "not-the-secret",
        "ENABLE_METRICS": "false",
        "LOGIN_RATE_LIMIT": "50 per minute",
    }
    with Served(tmp_path, environ=wrong, contracts=()) as served:
        yield Patient(served)


@pytest.mark.timeout(240)
def test_each_problem_shows_its_symptom_and_its_cure_cures_it(
    patient: Patient, subtests: pytest.Subtests
) -> None:
    served = patient.served
    right = credential(PROFILE)["interactive_secret"]

    with subtests.test("Authentication errors"):
        assert told(patient.fails("brokers", "login", "jainam_prop"), "Authentication errors")
    with subtests.test("Metrics do not record"):
        assert patient.status_of("/metrics") == 404
    with subtests.test("Symbol look-up failures"):
        status, answer, _ = patient.order()
        assert status == 400
        assert "Token not found for symbol 'INFY' on 'NSE'." in answer["message"]
        assert symptoms("Symbol look-up failures") == ["Token not found for symbol 'X' on 'Y'."]
        assert served.simulator.orders(PROFILE) == []
    with subtests.test("No symbols at all"):
        assert _rows(patient) == 0

    patient.restart(
        JAINAM_INTERACTIVE_API_SECRET=right, ENABLE_METRICS=None, JAINAM_RATE_LIMIT="1",
        ORDER_QUEUE_WAIT="0",
    )  # fmt: skip
    with subtests.test("Authentication errors are cured"):
        served.flask("brokers", "login", "jainam_prop", "--force")
    with subtests.test("Metrics are recorded"):
        assert patient.status_of("/metrics") == 200
    with subtests.test("Symbols are there after the download"):
        served.flask("master-contract", "download", "jainam_prop")
        assert _rows(patient) > 1000
        assert patient.order()[0] == 200
    with subtests.test("Rate limits"):
        status, answer, headers = _refused(patient)
        assert status == 429
        assert told(answer["message"], "Rate limits")
        assert float(headers["Retry-After"]) >= 0

    patient.restart(JAINAM_RATE_LIMIT=None, ORDER_QUEUE_WAIT=None, JAINAM_API_TIMEOUT="2")
    with subtests.test("Rate limits are cured"):
        assert [patient.order()[0] for _ in range(3)] == [200, 200, 200]
    with subtests.test("Network"):
        _network(patient)
    with subtests.test("Broker does not answer any more"):
        _broker_away(patient)
    with subtests.test("Session expired or displaced"):
        _displaced(patient)
    with subtests.test("Full disk"):
        _full_disk(patient)
    with subtests.test("No way into the admin pages"):
        _no_admin(patient)


def _rows(patient: Patient) -> int:
    found = urllib.request.urlopen(
        f"{patient.served.url}/api/v1/brokers?apikey={patient.served.key}", timeout=10
    )
    with found as answer:
        brokers = json.load(answer)["data"]
    (jainam,) = [one for one in brokers if one["name"] == "jainam_prop"]
    return int(jainam["master_contract"]["rows"] or 0)


def _refused(patient: Patient) -> tuple[int, dict[str, Any], dict[str, str]]:
    """The first order that is not taken, out of a few without a pause."""
    for _ in range(10):
        answer = patient.order()
        if answer[0] != 200:
            return answer
    pytest.fail("ten orders in a row were taken at one a second")


def _network(patient: Patient) -> None:
    """The broker takes an order and never answers; when it is there again, the order is found."""
    simulator = patient.served.simulator
    simulator.faults(
        {"route": "POST /orders", "fault": "accept_then_hang", "seconds": 60},
        {"route": "GET /orders/dealerorderbook", "fault": "hang_before_accept", "seconds": 60},
    )
    status, answer, _ = patient.order()
    assert status == 504
    assert told(answer["message"], "Network")
    simulator.faults()
    reference = answer["reference"]

    def settled() -> bool:
        found = urllib.request.urlopen(
            f"{patient.served.url}/api/v1/orders/{reference}?apikey={patient.served.key}",
            timeout=10,
        )
        with found as body:
            return json.load(body)["data"]["order"]["state"] == "accepted"

    wait_for(settled, 60)
    assert patient.order()[0] == 200


def _broker_away(patient: Patient) -> None:
    """Calls in a row get no answer, so the next are refused at once, until one gets through."""
    patient.served.simulator.faults({"route": "GET /user/balance", "fault": "close_before_accept"})

    def is_open() -> bool:
        status, answer, _ = patient.call("funds")
        return status == 503 and told(answer["message"], "Broker does not answer any more")

    wait_for(is_open, 30)
    found = patient.health()
    assert found["status"] == "degraded"
    assert found["checks"]["circuit:jainam_prop"]["interactive"] != "closed"
    patient.served.simulator.faults()
    wait_for(lambda: patient.call("funds")[0] == 200, 30)
    assert patient.health()["checks"]["circuit:jainam_prop"]["interactive"] == "closed"


def _displaced(patient: Patient) -> None:
    """Somebody else takes the session each time; the gateway stops fighting for it."""
    simulator = patient.served.simulator
    simulator.faults({"route": "POST /orders", "fault": "displaced_session"})

    def gives_up() -> bool:
        status, answer, _ = patient.order()
        assert status == 503
        return told(answer["message"], "Session expired or displaced")

    wait_for(gives_up, 60)
    simulator.faults()
    patient.served.flask("brokers", "login", "jainam_prop", "--force")
    assert patient.order()[0] == 200


def _full_disk(patient: Patient) -> None:
    """No file of the gateway may grow: what a full disk does to a write, without filling one."""
    sent = len(patient.served.simulator.orders(PROFILE))
    workers = patient.served.gateway.workers()
    before = [worker.rlimit(psutil.RLIMIT_FSIZE) for worker in workers]
    for worker in workers:
        worker.rlimit(psutil.RLIMIT_FSIZE, (0, before[0][1]))
    try:
        status, answer, _ = patient.order()
        assert status == 503
        assert any(words in answer["message"] for words in symptoms("Full disk")), answer
        assert len(patient.served.simulator.orders(PROFILE)) == sent
    finally:
        for worker, limit in zip(workers, before, strict=True):
            worker.rlimit(psutil.RLIMIT_FSIZE, limit)
    wait_for(lambda: patient.order()[0] == 200)


def _no_admin(patient: Patient) -> None:
    """There is no default password; an administrator is made by a command."""
    for name, password in (("admin", "admin123"), ("admin", "admin")):
        assert told(_login(patient, name, password), "No way into the admin pages")
    patient.served.flask(
        "users", "create", "meera", "--admin", "--password-stdin", stdin=f"{PASSWORD}\n"
    )
    assert "Master contract" in _login(patient, "meera", PASSWORD)


def _login(patient: Patient, name: str, password: str) -> str:
    """The page after a login through the form."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with browser.open(f"{patient.served.url}/login", timeout=10) as page:
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.read().decode())
    assert token is not None
    form = urllib.parse.urlencode({"csrf_token": token[1], "name": name, "password": password})
    request = urllib.request.Request(
        f"{patient.served.url}/login", form.encode(), {"Referer": f"{patient.served.url}/login"}
    )
    try:
        with browser.open(request, timeout=10) as page:
            return str(page.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.timeout(240)
def test_a_database_and_a_redis_that_are_down(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Servers of their own are killed and started again; the gateway goes on by itself."""
    with postgres_server() as database, redis_server() as cache:
        shared = {"DATABASE_URL": database.url, "REDIS_URL": cache.url}
        with Served(tmp_path, environ=shared) as served:
            patient = Patient(served)
            assert patient.order()[0] == 200
            with subtests.test("Redis down"):
                cache.kill()
                wait_for(lambda: patient.status_of("/health/ready") == 503)
                status, answer, _ = patient.order()
                assert status in (429, 503), answer
                assert patient.health()["checks"]["redis"]["status"] == "down"
                cache.start()
                wait_for(lambda: patient.order()[0] == 200, 60)
            with subtests.test("Database down"):
                database.kill()
                wait_for(lambda: patient.status_of("/health/ready") == 503)
                status, answer, _ = patient.order()
                assert (status, told(answer["message"], "Database down")) == (503, True), answer
                database.start()
                wait_for(lambda: patient.order()[0] == 200, 60)


def test_a_gateway_that_does_not_start_is_told_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
    looked = subprocess.run(
        [str(ROOT / "scripts" / "health_check.sh")], env={**os.environ, "PORT": port},
        capture_output=True, text=True, check=False,
    )
    assert looked.returncode == 2
    assert told(looked.stdout, "The gateway does not start")
    said = _config_check(tmp_path, tmp_path / "log", succeeds=False, JAINAM_SYMPHONY_SERVER="Q")
    assert "JAINAM_SYMPHONY_SERVER: should be 'A', 'B' or 'C'" in said
    _config_check(tmp_path, tmp_path / "log", succeeds=True, JAINAM_SYMPHONY_SERVER="C")


def test_a_log_folder_that_cannot_be_written_is_said_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = _config_check(tmp_path, tmp_path / "file" / "log", succeeds=False)
    assert told(said, "Logs do not appear")
    _config_check(tmp_path, tmp_path / "log", succeeds=True)
    assert (tmp_path / "log" / "app.log").is_file()


def _config_check(folder: Path, logs: Path, *, succeeds: bool, **settings: str) -> str:
    environ = {
        **settings,
        "DATABASE_URL": f"sqlite:///{folder / 'openalgo.db'}", "LOG_DIR": str(logs),
        "SECRET_KEY": secrets.token_hex(32), "API_KEY_PEPPER": secrets.token_hex(32),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "config", "check"],
        cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
    return done.stderr
