"""Everything that is watched, on a real gateway with two workers: metrics under a real Prometheus,
the queries of every rule and panel, JSON and verdicts, logs under the real logrotate."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.servers import Served
from database.engine import Database
from services.alarms import AlarmService
from services.figures import FigureService
from services.order_names import names_of
from tests.operations.promql import OF_PROMETHEUS, check_expressions, metrics_in, rules, run, tool
from tests.operations.serving import free_port, wait_for
from utils.clock import SystemClock
from utils.config import ROOT
from utils.log_search import find
from utils.rotation import configuration
from utils.tally import Tally

pytestmark = pytest.mark.timeout(240)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
ORDER = {
    "strategy": "alpha", "symbol": "RELIANCE", "exchange": "NSE", "action": "BUY", "quantity": 1,
    "pricetype": "MARKET", "product": "MIS",
}  # fmt: skip


def ask(url: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
    """Status, body and headers of an answer; JSON where it is JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data, {"Content-Type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text, given = answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        status, text, given = error.code, error.read().decode(), error.headers
    return status, json.loads(text) if text[:1] in "{[" else text, given


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two workers that have seen two orders, a wrong key, an unknown symbol and a page."""
    folder = tmp_path_factory.mktemp("watched")
    environ = {
        "WEB_CONCURRENCY": "2", "METRICS_TOKEN": "a" * 20,
        "JAINAM_RATE_LIMIT": "1",  # of two orders at once one waits for its turn
        "CERTIFICATE_HOSTS": "127.0.0.1:1",  # nobody serves one there, which is told as well
    }  # fmt: skip
    with Served(folder, environ=environ) as served:
        database = Database(served.environ["DATABASE_URL"])
        FigureService(database, SystemClock(), Tally()).put({
            ("trades", "alpha|buy"): 2.0, ("active_positions", "alpha"): 1.0,
        })  # what the next reading of the trade book would set, a minute from now
        AlarmService(database, SystemClock()).open("order_lost", "prop-b/REF", "An order is lost.")
        database.dispose()
        api = f"{served.url}/api/v1"
        named = {"traceparent": f"00-{TRACE}-{SPAN}-01", "X-Request-ID": "job-7"}
        order = {**ORDER, "apikey": served.key}
        with ThreadPoolExecutor() as pool:
            other = pool.submit(ask, f"{api}/placeorder", order)
            first = pool.submit(ask, f"{api}/placeorder", order, named)
        assert other.result()[0] == 200
        status, placed, served.headers = first.result()  # type: ignore[attr-defined]
        assert status == 200, placed
        served.placed = placed  # type: ignore[attr-defined]
        named = {"X-Request-ID": "wrong-key"}
        assert ask(f"{api}/placeorder", {**ORDER, "apikey": "0" * 64}, named)[0] == 403
        wrong = {**ORDER, "apikey": served.key, "symbol": "NOSUCH"}
        assert ask(f"{api}/placeorder", wrong)[0] == 400
        assert ask(f"{served.url}/login")[0] == 200
        served.flask("deployments", "record", "v1.2.3")
        yield served


def metrics(gateway: Served) -> str:
    status, text, _ = ask(f"{gateway.url}/metrics")
    assert status == 200
    return str(text)


def value(text: str, name: str) -> float | None:
    """The value of a series as it is written in the exposition."""
    lines = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].rpartition(" ")[2]) if lines else None


def test_the_figures_of_both_workers_are_told_by_either(gateway: Served) -> None:
    series = 'openalgo_authentication_failures_total{credential="api_key"}'
    before = value(metrics(gateway), series)
    assert before is not None
    for _ in range(20):
        ask(f"{gateway.url}/api/v1/funds", {"apikey": "0" * 64})
    assert {value(metrics(gateway), series) for _ in range(8)} == {before + 20}
    text = metrics(gateway)
    assert value(text, 'openalgo_order_outcomes_total{kind="place",state="accepted"}') == 2
    assert value(text, 'trades_total{direction="buy",strategy="alpha"}') == 2
    assert value(text, 'openalgo_token_lookup_failures_total{broker="jainam_prop"}') == 1
    assert value(text, "trade_execution_latency_seconds_count") == 2
    memory = 'openalgo_process_resident_memory_bytes{pid="'
    found = [line for line in text.splitlines() if line.startswith(memory)]
    assert len([line for line in found if 'role="worker"' in line]) == 2
    assert "# TYPE trades_total counter" in text


def expressions() -> dict[str, str]:
    """Every query of a rule, a panel or an annotation, by where it stands."""
    found = {f"rule {rule.get('alert') or rule['record']}": rule["expr"] for rule in rules()}
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                found[f"{path.stem}: {panel['title']} {target['refId']}"] = target["expr"]
        for mark in dashboard["annotations"]["list"]:
            found[f"{path.stem}: annotation {mark['name']}"] = mark["expr"]
    return found


def test_every_metric_in_a_rule_or_a_panel_is_told(gateway: Served) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}

    def told() -> set[str]:
        lines = metrics(gateway).splitlines()
        return {line.partition("{")[0].partition(" ")[0] for line in lines if line[:1] != "#"}

    wait_for(lambda: "openalgo_cache_requests_total" in told())  # written down every 15 seconds
    names = told() | recorded | OF_PROMETHEUS
    missing = {
        where: unknown for where, text in expressions().items()
        if (unknown := metrics_in(text) - names)
    }
    assert missing == {}


@pytest.mark.prometheus
def test_prometheus_scrapes_and_answers_every_query(gateway: Served, tmp_path: Path) -> None:
    checked = check_expressions(expressions().values(), tmp_path)
    assert checked.returncode == 0, checked.stderr
    port = free_port()
    configuration_file = tmp_path / "prometheus.yml"
    configuration_file.write_text(yaml.safe_dump({
        "global": {"scrape_interval": "500ms", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "deploy" / "prometheus" / "rules" / "*.yml")],
        "scrape_configs": [{
            "job_name": "openalgo",
            "static_configs": [{"targets": [gateway.url.removeprefix("http://")]}],
        }],
    }), encoding="utf-8")  # fmt: skip
    process = subprocess.Popen(
        [tool("prometheus"), f"--config.file={configuration_file}",
         f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{port}"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def query(text: str) -> Any:
        text = text.replace("$__rate_interval", "1m")
        where = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
        try:
            answer = ask(where)[1]
        except OSError:
            return {}
        return answer if isinstance(answer, dict) else {}  # it says in words that it begins

    try:
        wait_for(lambda: query("openalgo:cpu_use:ratio5m").get("data", {}).get("result"))
        ask(f"{gateway.url}/api/v1/funds", {"apikey": gateway.key})
        answers = {where: query(text) for where, text in expressions().items()}
        failed = {
            where: answer.get("error") for where, answer in answers.items()
            if answer.get("status") != "success"
        }
        assert failed == {}
        empty = {where for where, answer in answers.items() if not answer["data"]["result"]}
        panels = {where for where in answers if not where.startswith("rule ")}
        assert len(panels & empty) < len(panels) / 4, sorted(panels & empty)
        grave = 'ALERTS{alertname="OrderAlarm",alertstate="firing",severity="critical"}'
        assert wait_for(lambda: query(grave).get("data", {}).get("result"))
        (up,) = query('up{job="openalgo"}')["data"]["result"]
        assert up["value"][1] == "1"
    finally:
        process.terminate()
        process.wait(20)


def test_json_and_verdicts(gateway: Served) -> None:
    def calls() -> Any:
        status, told, _ = ask(f"{gateway.url}/metrics/api?days=2")
        assert status == 200
        return told["days"][-1] if told["days"][-1]["api_calls"] else None

    today = wait_for(calls)
    assert today["token_lookup_failures"] >= 1
    assert today["authentication_failures"] >= 1
    for query in ("days=0", "days=91", "days=x", "days="):
        for path in ("api", "quality-scenarios"):
            assert ask(f"{gateway.url}/metrics/{path}?{query}")[0] == 400
    _, told, _ = ask(f"{gateway.url}/metrics/quality-scenarios")
    verdicts = {one["code"]: one["verdict"] for one in told["scenarios"]}
    assert set(verdicts.values()) <= {"PASS", "FAIL", "NO DATA"}
    assert verdicts["A3"] == "NO DATA"  # no circuit was open
    assert verdicts["A4"] == "PASS"


def test_a_request_is_followed_to_the_broker_and_back(gateway: Served) -> None:
    headers = gateway.headers  # type: ignore[attr-defined]
    placed = gateway.placed  # type: ignore[attr-defined]
    assert headers["X-Request-ID"] == "job-7"
    assert headers["X-Trace-ID"] == TRACE
    assert headers["traceparent"] == f"00-{TRACE}-{headers['X-Span-ID']}-01"
    logs, database = Path(gateway.environ["LOG_DIR"]), Database(gateway.environ["DATABASE_URL"])
    for name in (placed["reference"], placed["orderid"], "job-7", TRACE):
        lines = find(logs, names_of(database, name))
        (line,) = [line for line in lines if line["logger"] == "access"]
        assert (line["reference"], line["orderid"]) == (placed["reference"], placed["orderid"])
        assert (line["request_id"], line["trace_id"]) == ("job-7", TRACE)
        assert (line["parent_id"], line["span_id"]) == (SPAN, headers["X-Span-ID"])
        assert line["user_id"] == 1
    database.dispose()
    (refused,) = find(logs, ["wrong-key"])
    assert (refused["status"], refused["error_code"]) == (403, "invalid_key")
    assert "orderid=" in gateway.flask("logs", "find", placed["reference"])


@pytest.mark.logrotate
def test_logrotate_loses_no_line(gateway: Served, tmp_path: Path) -> None:
    """Both workers write while the real logrotate moves and compresses their files."""
    logs = Path(gateway.environ["LOG_DIR"])
    user = "root" if os.geteuid() == 0 else str(os.geteuid())
    text = configuration(logs, "production", user, str(os.getegid()) if user != "root" else "root")
    rotation = tmp_path / "openalgo"
    rotation.write_text(text, encoding="utf-8")
    rotation.chmod(0o644)
    asked, stop = [0, 0, 0], threading.Event()

    def call(number: int) -> None:
        while not stop.is_set():
            ask(f"{gateway.url}/api/v1/ping?marker={number}", headers={
                "X-Request-ID": f"rotated-{number}-{asked[number]}", "X-API-KEY": "0" * 64,
            })  # fmt: skip
            asked[number] += 1
            stop.wait(0.02)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for round_ in range(3):
            before = sum(asked)
            wait_for(lambda before=before: sum(asked) >= before + 40)
            seconds = datetime.now(UTC).strftime("%S")
            state = tmp_path / "state"
            done = run(tool("logrotate"), "--force", "--state", state, rotation)
            assert done.returncode == 0, done.stderr
            wait_for(lambda seconds=seconds: datetime.now(UTC).strftime("%S") != seconds)
            assert len(list(logs.glob("access.log-*"))) == round_ + 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert list(logs.glob("access.log-*.gz"))
    wanted = {f"rotated-{who}-{n}" for who in range(3) for n in range(asked[who])}
    found = {
        json.loads(line)["request_id"]
        for path in logs.glob("access.log*")
        for line in _text(path).splitlines() if "rotated-" in line
    }
    assert found == wanted
    assert [line["request_id"] for line in find(logs, ["rotated-0-0"])] == ["rotated-0-0"]


def _text(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
