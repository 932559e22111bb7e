"""Downloads as jobs: progress, reports, refusals, dead processes, one at a time."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.base import AccountConfig, Broker, Runtime
from broker.models import Secret, Session
from broker.slots import MemorySlotStore
from database import jobs
from database.engine import Database
from database.jobs import JobState
from services import aside
from services.contract_order import ContractOrder
from services.errors import NotFoundHere
from services.master_contract import ALARM, KIND, SILENCE, MasterContractService
from services.symbols import SymbolService
from tests.support.databases import scratch_database
from utils.clock import SystemClock

PLUGINS = Path(__file__).parents[2] / "support" / "plugins"
sys.path.insert(0, str(PLUGINS))

from paper.broker import PaperBroker, account  # noqa: E402

NOW = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)  # a Friday, 12:00 IST


class Source:
    """Hands out `PaperBroker`s whose options the test sets."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.renewed: list[bool] = []
        self.connecting: Callable[[], None] = lambda: None

    def check(self, broker: str) -> None:
        if broker != "paper":
            raise NotFoundHere(f"There is no broker '{broker}'.")

    def connect(self, broker: str) -> Broker:
        self.connecting()
        return self._with({})

    def renew(self, broker: Broker, *, partial: bool) -> Broker:
        self.renewed.append(partial)
        return self._with({"fresh": "yes"})

    def _with(self, details: dict[str, str]) -> Broker:
        clock = SystemClock()
        made = PaperBroker(account(**self.options), Runtime(clock, MemorySlotStore(clock)))
        made.attach(Session({"market": Secret("canary-token")}, details, NOW, NOW))
        return made


class Alarms:
    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def open(self, rule: str, subject: str, message: str) -> None:
        self.told.append(("open", rule, subject, message))

    def close(self, rule: str, subject: str) -> None:
        self.told.append(("close", rule, subject))


class Bench:
    """A service with its surroundings."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SystemClock()
        self.source = Source()
        self.alarms = Alarms()
        self.service = self.another()
        self.symbols = SymbolService(database, self.clock)

    def another(self, **options: Any) -> MasterContractService:
        return MasterContractService(
            self.database, self.clock, self.source, self.alarms, plugin_paths=[PLUGINS], **options
        )

    def load(self, *, force: bool = False, **options: Any) -> jobs.JobRow:
        self.source.options = options
        return self.service.wait(self.service.start("paper", "asha", force).id, 30)


@pytest.fixture(params=["sqlite"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with scratch_database(request.param, tmp_path) as database:
        made = Bench(database)
        yield made
        made.service.close()
        made.symbols.close()


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait for something to come true."""
    pause, clock = threading.Event(), SystemClock()
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        found = condition()
        if found:
            return found
        pause.wait(0.01)
    raise AssertionError("it did not come true")


@pytest.mark.parametrize(
    "bench", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_a_download_publishes_and_reports(bench: Bench) -> None:
    assert bench.service.status("paper").state == "missing"
    job = bench.load(shares=30, options=50, bad=3)
    assert job.state is JobState.DONE, job.report
    report = job.report
    assert (report["rows"], report["added"], report["removed"], report["bad_rows"]) == (
        80, 80, 0, 3
    )
    assert report["exchanges"] == {
        "MCX": {"rows": 0, "before": 0, "added": 0, "removed": 0},
        "NFO": {"rows": 50, "before": 0, "added": 50, "removed": 0},
        "NSE": {"rows": 30, "before": 0, "added": 30, "removed": 0},
    }
    assert report["empty_exchanges"] == ["MCX"]
    assert report["generation"] == 1 and report["seconds"] > 0
    assert report["bad_reasons"] == {"reason 0": 1, "reason 1": 1, "reason 2": 1}
    assert report["bad"][0] == {
        "segment": "NSECM", "line": 0, "text": "NSECM|x", "reason": "reason 0"
    }
    assert job.pid not in (None, os.getpid()) and job.requested_by == "asha"
    assert bench.symbols.lookup("paper", "NFO", "NIFTY24NOV2620000CE") is not None
    status = bench.service.status("paper")
    assert (status.state, status.rows, status.counts) == ("ready", 80, {"NFO": 50, "NSE": 30})
    assert bench.alarms.told == [("close", ALARM, "paper")]


def test_the_next_one_tells_what_came_and_went(bench: Bench) -> None:
    bench.load(shares=30, options=50)
    job = bench.load(shares=31, options=49)
    assert (job.report["added"], job.report["removed"]) == (1, 1)
    assert job.report["added_samples"] == ["NSE:SHARE30"]
    assert job.report["removed_samples"] == ["NFO:NIFTY24NOV2622450CE"]
    history = bench.service.history("paper")
    assert [entry.id for entry in history] == [job.id, job.id - 1]
    assert "bad" in history[0].report and "bad" not in history[1].report


@pytest.mark.parametrize(("options", "words"), [
    ({"shares": 70, "options": 100}, "NSE shrank from 100 rows to 70"),
    ({"shares": 100, "options": 0}, "NFO has no rows, where it had 100"),
    ({"shares": 100, "options": 100, "bad": 60}, "could not be read"),
])
def test_an_implausible_contract_is_refused_unless_forced(
    bench: Bench, options: dict[str, Any], words: str
) -> None:
    bench.load(shares=100, options=100)
    job = bench.load(**options)
    assert job.state is JobState.FAILED
    assert words in job.report["error"]
    assert job.report["exchanges"]["NSE"]["before"] == 100
    assert bench.symbols.counts("paper") == {"NFO": 100, "NSE": 100}
    assert bench.alarms.told[-1][:3] == ("open", ALARM, "paper")
    forced = bench.load(**options, force=True)
    assert forced.state is JobState.DONE and words in forced.report["doubts"][0]


def test_a_little_less_is_no_doubt(bench: Bench) -> None:
    bench.load(shares=100, options=100)
    assert bench.load(shares=80, options=80).state is JobState.DONE


def test_an_empty_contract_is_never_published(bench: Bench) -> None:
    job = bench.load(shares=0, options=0, force=True)
    assert job.state is JobState.FAILED and "empty" in job.report["error"]
    assert bench.service.status("paper").state == "failed"


def test_only_the_exchanges_asked_for_are_loaded_and_judged(bench: Bench) -> None:
    bench.load(shares=30, options=50)
    service = bench.another(exchanges=("NSE",))
    job = service.wait(service.start("paper", "asha").id, 30)
    assert job.state is JobState.DONE, job.report
    assert bench.symbols.counts("paper") == {"NSE": 30}
    service.close()


def test_rows_without_a_usable_symbol_are_reported(bench: Bench) -> None:
    job = bench.load(shares=30, options=50, odd="yes")
    assert job.state is JobState.DONE and job.report["rows"] == 80
    assert job.report["bad_reasons"] == {
        "a derivative without an expiry": 1, "no usable symbol": 2
    }


def test_many_reasons_are_counted_together(bench: Bench) -> None:
    job = bench.load(shares=3000, options=1, bad=400)
    assert len(job.report["bad"]) == 100
    assert len(job.report["bad_reasons"]) == 51
    assert job.report["bad_reasons"]["other reasons"] > 50


@pytest.mark.parametrize(("mishap", "words"), [
    ("refused", "e-instrument-0001: no such segment"),
    ("halfway", "the second segment is not served"),
    ("crash", "has died (9)"),
    ("bug", "could not be loaded (RuntimeError)"),
])
def test_a_failed_download_says_why_and_changes_nothing(
    bench: Bench, mishap: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.load(shares=30, options=50, lot=1)
    with caplog.at_level(logging.ERROR):
        job = bench.load(shares=30, options=50, lot=2, mishap=mishap)
    assert job.state is JobState.FAILED
    assert words in job.report["error"]
    record = bench.symbols.lookup("paper", "NSE", "SHARE1")
    assert record is not None and record.lotsize == 1
    assert bench.alarms.told[-1][0] == "open"
    assert "canary" not in json.dumps(job.report)
    assert "canary-token" not in caplog.text
    assert bench.load(shares=30, options=50, lot=3).state is JobState.DONE


def test_what_a_package_prints_is_logged_and_no_answer(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        job = bench.load(mishap="noise")
    assert job.state is JobState.DONE
    assert '{"some": "json"}' in caplog.text


def test_a_dead_session_is_renewed_once(bench: Bench) -> None:
    job = bench.load(mishap="session")
    assert job.state is JobState.DONE and bench.source.renewed == [False]
    job = bench.load(mishap="always dead")
    assert job.state is JobState.FAILED and bench.source.renewed == [False, True]
    assert job.report["kind"] == "session_expired"


def test_one_download_at_a_time_for_a_broker(bench: Bench) -> None:
    bench.source.options = {"mishap": "hang"}
    first = bench.service.start("paper", "asha")
    assert bench.service.start("paper", "ravi").id == first.id
    other = bench.another()
    assert other.start("paper", "ravi").id == first.id
    assert other.wait(first.id, 0.2).state in (JobState.QUEUED, JobState.RUNNING)
    running = until(lambda: bench.service.job(first.id).progress and bench.service.job(first.id))
    assert running.state is JobState.RUNNING
    assert running.progress == {
        "phase": "Downloading", "exchange": "", "rows": 0, "bad_rows": 0
    }
    assert bench.service.status("paper").state == "running"
    os.kill(running.pid, signal.SIGKILL)
    ended = other.wait(first.id, 20)
    assert ended.state is JobState.FAILED and "died" in ended.report["error"]
    other.close()


def test_closing_stops_the_work(bench: Bench) -> None:
    bench.source.options = {"mishap": "hang"}
    job = bench.service.start("paper", "asha")
    until(lambda: bench.service.job(job.id).state is JobState.RUNNING)
    bench.service.close()
    ended = bench.service.job(job.id)
    assert ended.state is JobState.FAILED and "stopped" in ended.report["error"]


def test_closing_while_connecting_starts_no_process(bench: Bench) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def connecting() -> None:
        reached.set()
        go_on.wait(20)

    bench.source.connecting = connecting
    job = bench.service.start("paper", "asha")
    assert reached.wait(20)
    closing = threading.Thread(target=bench.service.close)
    closing.start()
    until(lambda: bench.service._closing)
    go_on.set()
    closing.join(20)
    assert "stopped" in bench.service.job(job.id).report["error"]


def test_a_job_whose_gateway_died_is_found(bench: Bench) -> None:
    with bench.database.write() as conn:
        long_ago = bench.clock.now() - SILENCE - timedelta(seconds=1)
        job, _ = jobs.enqueue(conn, KIND, "paper", "asha", at=long_ago)
        jobs.start(conn, job.id, at=long_ago, pid=1)
    assert bench.service.history("paper")[0].state is JobState.FAILED
    assert bench.load().state is JobState.DONE


def test_a_process_that_nobody_listens_to_ends(bench: Bench, tmp_path: Path) -> None:
    order = ContractOrder.for_broker(
        PaperBroker(account(mishap="hang"), Runtime(bench.clock, MemorySlotStore(bench.clock))),
        symbols_url=f"sqlite:///{tmp_path / 'other.db'}", plugin_paths=(str(PLUGINS),),
    )
    process = aside.start(aside.CONTRACT)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(order.to_line())
    process.stdin.flush()
    assert "progress" in process.stdout.readline()
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, os.nice(0) + 10)
    process.stdout.close()
    assert process.wait(20) == 3
    process.stdin.close()


def test_an_unknown_broker_or_job_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFoundHere):
        bench.service.start("nobody", "asha")
    with pytest.raises(NotFoundHere):
        bench.service.wait(99, 1)
    assert bench.service.history("nobody") == []


class TestFreshness:
    @pytest.mark.parametrize(("loaded", "now", "stale"), [
        ("2026-11-20T03:06", "2026-11-20T04:00", False),  # today after 08:35 IST
        ("2026-11-20T03:04", "2026-11-20T04:00", True),  # today, but before it came out
        ("2026-11-19T05:00", "2026-11-20T03:00", False),  # yesterday's, early in the morning
        ("2026-11-20T05:00", "2026-11-22T09:00", False),  # Friday's on a Sunday
        ("2026-11-20T05:00", "2026-11-23T03:10", True),  # Friday's on Monday at 08:40 IST
    ])
    def test_a_contract_is_stale_when_a_newer_one_is_out(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, loaded: str, now: str, stale: bool
    ) -> None:
        bench.load(shares=3, options=3)
        with bench.database.symbols_engine.begin() as conn:
            conn.exec_driver_sql(
                "UPDATE symbol_generation SET loaded_at = ?", (f"{loaded}:00+00:00",)
            )
        moment = datetime.fromisoformat(f"{now}:00+00:00")
        monkeypatch.setattr(type(bench.clock), "now", lambda _self: moment)
        assert bench.service.is_stale("paper") is stale
        assert bench.service.status("paper").state == ("stale" if stale else "ready")

    def test_a_refresh_loads_what_is_stale_and_logs_what_it_cannot(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        (job,) = bench.service.refresh(["nobody", "paper"])
        assert "nobody" in caplog.text
        assert bench.service.wait(job.id, 30).state is JobState.DONE
        fresh = bench.service.status("paper")
        due = bench.service._newest_due()
        assert fresh.updated_at is not None and fresh.updated_at >= due
        assert bench.service.refresh(["paper"]) == []


def test_an_order_survives_the_pipe() -> None:
    config = AccountConfig(
        "prop-b", {"market_api_key": Secret("canary")}, cluster="B", account_type="PRO",
        client_id="X1", base_url="http://127.0.0.1:1", host_lookup=False,
        options={"books": "dealer"}, api_timeout=3.5, orders_per_second=20, retry_count=1,
        published_limits=False,
    )
    order = ContractOrder(
        "jainam_prop", config, Session({"market": Secret("t")}, {"user_id": "U"}, NOW, NOW),
        "sqlite:////x.db", ("NSE",), True, "/slots", ("/plugins",),
    )
    assert ContractOrder.from_line(order.to_line()) == order
    assert "canary" not in repr(ContractOrder("b", config, None, "u"))
    alone = ContractOrder("b", config, None, "u")
    assert ContractOrder.from_line(alone.to_line()) == alone
