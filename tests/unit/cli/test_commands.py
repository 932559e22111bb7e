"""Every command over real services; only what other tests cover (downloads, books) is played."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

import cli
from cli.support import EXTENSION
from database import journal
from database.engine import Database
from database.jobs import JobState
from database.journal import Intent, IntentKind, IntentState
from services.kill_switch import KillSwitch
from services.locks import LockBusy
from services.market_data import MarketDataService
from services.order_models import CancelAllResult, ChildResult, ChildStatus
from services.reconciler import Summary
from services.settlements import Settlements
from services.strategies import StrategyService
from tests.support.clocks import ManualClock
from tests.support.databases import sqlite_database
from tests.support.stacks import Stack, new_venue
from tests.support.trading import Trader
from tests.support.venue import CREDENTIALS, VENUES, Plugins, Venue
from utils.envfile import read_plain

OTHER = {name: value.replace("CANARY", "CANARY-other") for name, value in CREDENTIALS.items()}


@dataclass(frozen=True)
class Run:
    """A download as it stands."""

    state: JobState
    id: int = 7
    progress: dict[str, Any] = field(default_factory=lambda: {"phase": "rows", "rows": 1200})

    @property
    def report(self) -> dict[str, Any]:
        return {"error": "NSE shrank by 40 %."} if self.state is JobState.FAILED else {}


@dataclass
class Downloads:
    """A master-contract service that is told how its job ends."""

    clock: ManualClock
    state: str = "done"
    stale: bool = True
    started: list[tuple[str, bool]] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    def start(self, name: str, who: str, *, force: bool = False) -> Run:
        self.started.append((name, force))
        return Run(JobState.QUEUED)

    def wait(self, job_id: int, timeout: float) -> Run:
        assert job_id == 7
        self.clock.advance(timeout)
        return Run(JobState(self.state))

    def is_stale(self, name: str) -> bool:
        return self.stale

    def status(self, name: str) -> dict[str, Any]:
        return {"state": "ready", "rows": 200_000, **self.told}


@dataclass
class Ways:
    """The way out, played: what it reports and in which order it was taken."""

    taken: list[str] = field(default_factory=list)
    status: ChildStatus = ChildStatus.SUCCESS

    def cancel_all(self, principal: object, account: object, **options: object) -> CancelAllResult:
        self.taken.append("cancel")
        return CancelAllResult([
            ChildResult(0, "INFY", "NSE", "MIS", 5, self.status, message="")
        ])

    def close_positions(
        self, principal: object, account: object, **options: object
    ) -> list[ChildResult]:
        self.taken.append("close")
        return []


class Shell:
    """Runs commands as a user's shell does."""

    def __init__(self, stack: Stack, **more: object) -> None:
        self.stack = stack
        clock = stack.clock
        assert isinstance(clock, ManualClock)
        self.downloads = Downloads(clock)
        self.baskets = Ways()
        self.is_reconciling = False
        self.unread: tuple[str, ...] = ()
        app = Flask("test")
        gateway = SimpleNamespace(
            settings=stack.settings, clock=clock, access=stack.access, accounts=stack.accounts,
            sessions=stack.sessions, flags=stack.flags, alarms=stack.alarms,
            registry=Plugins(), master_contract=self.downloads,
            kill_switch=KillSwitch(
                stack.database, stack.flags, stack.accounts, self.baskets,  # type: ignore[arg-type]
                clock,
            ),
            reconciler=SimpleNamespace(run_now=self.reconcile),
            settlements=Settlements(stack.database, clock),
            **more,
        )
        app.extensions[EXTENSION] = SimpleNamespace(gateway=gateway)
        cli.register(app)
        self.runner = app.test_cli_runner()

    def __call__(self, *words: str, stdin: str | None = None) -> Result:
        return self.runner.invoke(args=list(words), input=stdin)

    def ok(self, *words: str, stdin: str | None = None) -> str:
        result = self(*words, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def reconcile(self, patience: float) -> Summary:
        if self.is_reconciling:
            raise LockBusy("another process")
        return Summary(self.stack.clock.now(), settled=2, unread=self.unread)

    def fails(self, *words: str, stdin: str | None = None) -> str:
        result = self(*words, stdin=stdin)
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        return result.stderr


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as made:
        yield made


@pytest.fixture
def venue() -> Venue:
    return new_venue()


@pytest.fixture
def shell(database: Database, tmp_path: Path, venue: Venue) -> Shell:
    return Shell(Stack(database, tmp_path, ManualClock()))


def test_from_nothing_to_a_key_with_commands_alone(shell: Shell) -> None:
    """Field defect 39."""
    assert "no user yet" in shell.ok("users", "list")
    shell.ok("users", "create", "asha", "--admin", "--password-stdin", stdin="a long password\n")
    result = shell("api-key", "create", "asha", "--scope", "admin", "--account", "jainam_prop")
    assert result.exit_code == 0
    key = result.stdout.strip()
    assert result.stdout == f"{key}\n"
    assert "shown this once" in result.stderr
    principal = shell.stack.access.authenticate_key(key)
    assert principal is not None
    assert (principal.scope, principal.default_account) == ("admin", "jainam_prop")
    listed = json.loads(shell.ok("api-key", "list", "--json"))
    assert [row["prefix"] for row in listed] == [key[:8]]
    assert key not in json.dumps(listed)
    shell.ok("api-key", "revoke", str(listed[0]["id"]))
    assert shell.stack.access.authenticate_key(key) is None
    assert "yes" in shell.ok("api-key", "list", "--user", "asha")
    assert len(json.loads(shell.ok("api-key", "create", "asha", "--json"))["key"]) == 64


def test_users(shell: Shell) -> None:
    text = shell.ok(
        "users", "create", "asha", "--password-stdin", "--json", stdin="a long password\n"
    )
    made = json.loads(text)
    assert made["name"] == "asha"
    assert not made["is_admin"]
    assert "user named 'ASHA' already" in shell.fails(
        "users", "create", "ASHA", "--password-stdin", stdin="a long password\n"
    )
    assert "12 to 256" in shell.fails("users", "create", "ben", "--password-stdin", stdin="x\n")
    shell.ok("users", "create", "ben", stdin="another password\nanother password\n")
    assert shell.stack.access.verify_login("ben", "another password") is not None
    shell.ok("users", "password", "ben", "--password-stdin", stdin="a third password\n")
    assert shell.stack.access.verify_login("ben", "a third password") is not None
    shell.ok("users", "disable", "ben")
    assert shell.stack.access.verify_login("ben", "a third password") is None
    shell.ok("users", "enable", "ben")
    assert [row["name"] for row in json.loads(shell.ok("users", "list", "--json"))] == [
        "asha", "ben"
    ]
    assert "no user 'carl'" in shell.fails("users", "disable", "carl")


def test_an_administrator_without_a_prompt(shell: Shell) -> None:
    create = ("users", "create", "boss", "--admin", "--email", "boss@example.com")
    result = shell(*create, "--generate-password")
    assert result.exit_code == 0
    password = result.stdout.strip()
    assert result.stdout == f"{password}\n" and len(password) >= 24
    principal = shell.stack.access.verify_login("boss", password)
    assert principal is not None and principal.is_admin
    assert json.loads(shell.ok("users", "list", "--json"))[0]["email"] == "boss@example.com"
    again = shell("users", "create", "BOSS", "--admin", "--generate-password", "--if-missing")
    assert (again.exit_code, again.stdout) == (0, "")
    assert shell.stack.access.verify_login("boss", password) is not None
    assert "either" in shell.fails(
        "users", "create", "x", "--generate-password", "--password-stdin", stdin="y\n"
    )
    made = shell.ok("users", "create", "ben", "--generate-password", "--json")
    assert shell.stack.access.verify_login("ben", json.loads(made)["password"]) is not None


def test_parameters_of_strategies_and_flags_of_users(shell: Shell, database: Database) -> None:
    shell = Shell(shell.stack, strategies=StrategyService(database, shell.stack.clock))
    shell.ok("users", "create", "asha", "--password-stdin", stdin="a long password\n")
    assert "has 2 parameters" in shell.ok("strategy", "set", "asha", "orb", "lots=2", "note=a=b")
    shell.ok("strategy", "set", "asha", "orb", "--remove", "lots")
    assert json.loads(shell.ok("strategy", "get", "asha", "orb", "--json")) == {"note": "a=b"}
    assert "orb" in shell.ok("strategy", "list", "asha")
    assert "PARAMETER=VALUE" in shell.fails("strategy", "set", "asha", "orb", "lots")
    shell.ok("flags", "set", "new-pages", "on")
    shell.ok("flags", "set", "new-pages", "off", "--user", "asha")
    rows = json.loads(shell.ok("flags", "list", "--json"))
    assert [(row["name"], row["user"], row["value"]) for row in rows] == [
        ("new-pages", "", "on"), ("new-pages", "asha", "off")
    ]
    shell.ok("flags", "clear", "new-pages", "--user", "asha")
    assert len(json.loads(shell.ok("flags", "list", "--json"))) == 1
    assert "belong to the gateway" in shell.fails("flags", "clear", "version.accounts")


def test_the_two_halves_of_a_rotation(shell: Shell, tmp_path: Path) -> None:
    asked: list[tuple[str, bool]] = []

    def finish(name: str, *, give_up: bool) -> str:
        asked.append((name, give_up))
        return "2 stored secrets are sealed with the new SECRET_KEY."

    shell = Shell(shell.stack, secrets=SimpleNamespace(finish=finish))
    env_file = tmp_path / "gateway.env"
    env_file.write_text("PORT=5001\nSECRET_KEY=the-old-one\n", encoding="utf-8")
    options = ("SECRET_KEY", "--env-file", str(env_file))
    told = shell.ok("secrets", "rotate", *options)
    written = read_plain(env_file)
    assert written["SECRET_KEY_PREVIOUS"] == "the-old-one"
    assert len(written["SECRET_KEY"]) == 64 and written["SECRET_KEY"] not in told
    assert "under way" in shell.fails("secrets", "rotate", *options)
    assert "not in" in shell.fails("secrets", "rotate", "METRICS_TOKEN", *options[1:])
    assert "is taken out" in shell.ok("secrets", "finish", *options, "--yes")
    assert asked == [("SECRET_KEY", True)]
    assert read_plain(env_file) == {"PORT": "5001", "SECRET_KEY": written["SECRET_KEY"]}


def test_passwords_are_not_echoed(shell: Shell) -> None:
    result = shell("users", "create", "asha", stdin="a long password\na long password\n")
    assert result.exit_code == 0
    assert "a long password" not in result.output


def test_accounts(shell: Shell, venue: Venue) -> None:
    shell.ok("users", "create", "asha", "--password-stdin", stdin="a long password\n")
    added = shell.ok(
        "accounts", "add", "prop-c", "--broker", "jainam_prop", "--user", "asha", "--cluster", "C",
        "--option", "order_client_id=X", "--credentials-stdin", stdin=json.dumps(OTHER),
    )
    assert "accounts login prop-c" in added
    account = shell.stack.accounts.find("prop-c")
    assert account is not None
    assert account.owner_id == shell.stack.access.principal_of("asha").user_id
    assert account.options == {"order_client_id": "X"}
    assert "is connected until" in shell.ok("accounts", "login", "prop-c")
    assert json.loads(shell.ok("accounts", "login", "prop-c", "--json"))["connected"]
    assert len(venue.logins) == 1
    shell.ok("accounts", "login", "prop-c", "--force")
    assert len(venue.logins) == 2
    rows = {row["label"]: row for row in json.loads(shell.ok("accounts", "list", "--json"))}
    assert rows["prop-c"]["connected"]
    assert not rows["jainam_prop"]["connected"]
    assert "CANARY" not in json.dumps(rows)
    assert "prop-c" in shell.ok("accounts", "list")
    assert "can read everything" in shell.ok("accounts", "self-check", "prop-c")
    venue.faults = ["The trade book can't be read."]
    assert "trade book can't be read" in shell.fails("accounts", "self-check", "prop-c")
    assert "is disconnected" in shell.ok("accounts", "logout", "prop-c")
    shell.ok("accounts", "login", "prop-c")
    assert shell("accounts", "remove", "prop-c", stdin="n\n").exit_code == 1
    shell.ok("accounts", "remove", "prop-c", "--yes")
    assert len(venue.logouts) == 2
    assert shell.stack.accounts.find("prop-c") is None
    assert "comes from the environment" in shell.fails("accounts", "remove", "jainam_prop")
    for words in (("login", "nope"), ("remove", "nope"), ("self-check", "nope")):
        assert "no account 'nope'" in shell.fails("accounts", *words)


def test_credentials_are_asked_for_on_the_terminal(shell: Shell) -> None:
    typed = "".join(f"{value}\n" for value in OTHER.values())
    result = shell("accounts", "add", "shared", "--broker", "jainam_prop", stdin=typed)
    assert result.exit_code == 0, result.output
    assert "CANARY" not in result.output
    account = shell.stack.accounts.find("shared")
    assert account is not None
    assert account.owner_id is None


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        (("--broker", "nobody", "--credentials-stdin"), "{}", "no broker 'nobody'"),
        (("--broker", "jainam_prop", "--credentials-stdin"), "{", "not JSON"),
        (("--broker", "jainam_prop", "--credentials-stdin"), "[1]", "JSON object of texts"),
        (("--broker", "jainam_prop", "--credentials-stdin"), '{"pin":"1"}', "pin: Unknown field."),
        (
            ("--broker", "jainam_prop", "--credentials-stdin", "--option", "x"),
            json.dumps(OTHER), "NAME=VALUE",
        ),
    ],
)
def test_bad_accounts_are_refused_in_a_sentence(
    shell: Shell, words: tuple[str, ...], stdin: str, message: str
) -> None:
    stderr = shell.fails("accounts", "add", "x", *words, stdin=stdin)
    assert message in stderr
    assert "Traceback" not in stderr
    assert "CANARY" not in stderr


def test_the_self_check_sends_an_order_only_when_the_label_is_typed(
    database: Database, tmp_path: Path
) -> None:
    VENUES.clear()
    trader = Trader(database, tmp_path, ManualClock())
    symbols: object = trader.symbols
    market = MarketDataService(
        trader.stack.sessions, trader.stack.accounts, symbols, trader.clock  # type: ignore[arg-type]
    )
    shell = Shell(
        trader.stack, orders=trader.desk.orders, portfolio=trader.desk.portfolio,
        market_data=market,
    )
    words = ("accounts", "self-check", "jainam_prop", "--place-order", "INFY")
    assert "--user NAME" in shell.fails(*words)
    stderr = shell.fails(*words, "--user", "asha", stdin="yes\n")
    assert "BUY 1 INFY on NSE" in stderr
    assert "Nothing was sent." in stderr
    assert trader.venue.placed == []
    assert "can read everything" in shell.ok(*words, "--user", "asha", stdin="jainam_prop\n")
    assert len(trader.venue.placed) == len(trader.venue.cancelled) == 1


def test_a_refused_login_is_a_sentence_and_status_1(shell: Shell, venue: Venue) -> None:
    venue.secret = "another"
    assert "Authentication failed: Invalid credentials" in shell.fails(
        "brokers", "login", "jainam_prop"
    )
    assert "Authentication failed: Invalid credentials" in shell.ok("brokers", "list")


def test_brokers(shell: Shell) -> None:
    shell.ok("brokers", "login", "jainam_prop")
    rows = {
        row["name"]: row for row in json.loads(shell.ok("brokers", "list", "--json"))["brokers"]
    }
    assert rows["jainam_prop"]["connected"]
    assert rows["jainam_prop"]["accounts"] == "jainam_prop"
    shell.ok("brokers", "disable", "jainam_prop")
    assert "An administrator switched it off." in shell.ok("brokers", "list")
    shell.ok("brokers", "enable", "jainam_prop")
    shell.ok("brokers", "logout", "jainam_prop")
    assert "no broker 'nobody'" in shell.fails("brokers", "enable", "nobody")
    assert "has no account" in shell.fails("brokers", "login", "wisdom")
    root = shell.stack.user("root", is_admin=True)
    for number in ("1", "2"):
        credentials = json.dumps({k: f"{v}-{number}" for k, v in OTHER.items()})
        shell.ok("accounts", "add", f"w{number}", "--broker", "wisdom", "--user", root.name,
                 "--credentials-stdin", stdin=credentials)
        if number == "1":
            assert "w1" in json.dumps(json.loads(shell.ok("brokers", "list", "--json")))
    assert "several accounts (w1, w2)" in shell.fails("brokers", "logout", "wisdom")


def test_broken_plugins_are_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plugins, "broken", {"acme": "plugin.json can't be read"})
    result = shell("brokers", "list")
    assert "broken: acme: plugin.json can't be read" in result.stderr


def test_master_contract(shell: Shell) -> None:
    assert "200000 symbols" in shell.ok("master-contract", "download", "jainam_prop")
    assert shell.downloads.started == [("jainam_prop", False)]
    shell.downloads.stale = False
    assert "is today's" in shell.ok("master-contract", "download", "jainam_prop", "--if-stale")
    fresh = json.loads(
        shell.ok("master-contract", "download", "jainam_prop", "--if-stale", "--json")
    )
    assert fresh["rows"] == 200_000
    assert len(shell.downloads.started) == 1
    shell.downloads.state = "failed"
    assert "NSE shrank by 40 %." in shell.fails("master-contract", "download", "jainam_prop")
    shell.downloads.state = "running"
    result = shell("master-contract", "download", "jainam_prop", "--force", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["state"] == "running"
    assert "it is running after 900 seconds" in result.stderr
    assert shell.downloads.started[-1] == ("jainam_prop", True)
    assert "rows: 200000" in shell.ok("master-contract", "status", "jainam_prop")
    assert json.loads(shell.ok("master-contract", "status", "jainam_prop", "--json"))["rows"]
    assert "no broker" in shell.fails("master-contract", "download", "nobody")


def test_how_a_master_contract_stands_is_told_in_words(shell: Shell) -> None:
    at = datetime(2026, 1, 15, 3, 10, tzinfo=UTC)
    shell.downloads.told = {
        "updated_at": at, "counts": {"NFO": 3, "NSE_INDEX": 2},
        "job": {
            "state": JobState.DONE, "finished_at": at, "heartbeat_at": at, "created_at": at,
            "requested_by": "scheduler",
            "report": {
                "rows": 5, "added": 5, "removed": 0, "bad_rows": 1, "collisions": 0,
                "bad_reasons": {"no token": 1}, "doubts": ["NFO is small."],
                "empty_exchanges": ["MCX"],
            },
        },
    }
    assert shell.ok("master-contract", "status", "jainam_prop").splitlines() == [
        "state: ready", "rows: 200000", "updated_at: 2026-01-15 08:40:00 IST",
        "counts: NFO 3, NSE_INDEX 2",
        "last download: done, 2026-01-15 08:40:00 IST, by scheduler",
        "  rows 5, added 5, removed 0, bad rows 1, collisions 0",
        "  without a row: MCX", "  malformed: 1 rows: no token", "  doubtful: NFO is small.",
    ]
    shell.downloads.told["job"]["report"] = {"error": "NSE shrank by 40 %."}
    assert "  error: NSE shrank by 40 %." in shell.ok("master-contract", "status", "jainam_prop")


def test_people_see_how_far_a_download_is(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.brokers.is_terminal", lambda: True)
    result = shell("master-contract", "download", "jainam_prop")
    assert "done  phase rows  rows 1200" in result.stderr
    assert "phase" not in result.stdout


def test_the_kill_switch_and_flags(shell: Shell) -> None:
    assert "No flag was set" in shell.ok("flags", "list")
    assert "is off" in shell.ok("kill", "status")
    assert "is on: no entries" in shell.ok("kill", "on")
    assert shell.stack.flags.is_on("kill")
    assert json.loads(shell.ok("flags", "list", "--json"))[0]["value"] == "on"
    assert "is off" in shell.ok("kill", "off")
    assert "goes with 'on'" in shell.fails("kill", "off", "--square-off")
    told = shell.ok("kill", "on", "--square-off")
    assert "jainam_prop: 1 orders to cancel, 0 exits to send." in told
    assert "cancel 5 INFY NSE MIS: success" in told
    assert shell.baskets.taken == ["cancel", "close"]
    shell.baskets.status = ChildStatus.UNKNOWN
    assert "Not everything" in shell.fails("kill", "on", "--square-off")
    assert json.loads(shell.ok("kill", "status", "--json"))["kill_switch"]["is_on"] is True
    assert "is off" in shell.ok("kill", "off")
    shell.ok("flags", "set", "colour", "red")
    assert shell.stack.flags.get("colour") == "red"
    assert "belong to the gateway" in shell.fails("flags", "set", "version.keys", "1")
    assert "lower-case" in shell.fails("flags", "set", "Bad Name", "1")


def test_orders_are_settled_by_hand(shell: Shell) -> None:
    assert "is known" in shell.ok("orders", "open")
    words = ("orders", "settle", "R-1", "--as", "absent", "--reason", "not in the contract note")
    assert "no order with the reference R-1" in shell.fails(*words)
    account = shell.stack.accounts.find("jainam_prop")
    assert account is not None
    at = shell.stack.clock.now()
    with shell.stack.database.write() as conn:
        number = journal.new_intent(conn, Intent(
            "R-1", "T-1", IntentKind.PLACE, account.id, None, "", at, symbol="SBIN"
        ))
        for state in (IntentState.SENDING, IntentState.UNKNOWN):
            journal.change(conn, number, state, "test", at=at)
    assert "SBIN" in shell.ok("orders", "open")
    # Whether this process or another one reconciles: the journal says what is left.
    for shell.is_reconciling in (False, True):
        told = json.loads(shell("orders", "reconcile", "--json").stdout)
        assert (told["ran"], told["unknown"]) == (not shell.is_reconciling, 1)
        assert "Orders of unknown outcome: 1; flask --app app orders open lists them." in (
            shell.fails("orders", "reconcile")
        )
    shell.is_reconciling, shell.unread = False, ("prop",)
    assert "prop: the broker's book could not be read." in shell.fails("orders", "reconcile")
    assert "needs the broker's order id (--order-id)" in shell.fails(*words, "--order-id", "7")
    assert shell.ok(*words) == "Order R-1 is absent.\n"
    assert "is known" in shell.ok("orders", "open")
    today = at.date().isoformat()
    assert "last 90 days are kept" in shell.fails("orders", "prune", "--before", today)
    shell.downloads.clock.advance(91 * 86_400)
    assert shell.ok("orders", "prune", "--before", today) == "0 orders were deleted.\n"
    shell.downloads.clock.advance(86_400)
    tomorrow = (at.date() + timedelta(days=1)).isoformat()
    assert shell.ok("orders", "prune", "--before", tomorrow) == "1 orders were deleted.\n"


def test_alarms_reconcile_and_configuration(shell: Shell) -> None:
    assert "No alarm is open" in shell.ok("alarms", "list")
    shell.stack.alarms.open("fire", "prop", "It burns.")
    assert "It burns." in shell.ok("alarms", "list")
    assert "no open alarm 'fire' of 'nobody'" in shell.fails("alarms", "close", "fire", "nobody")
    shell.ok("alarms", "close", "fire", "prop")
    assert len(json.loads(shell.ok("alarms", "list", "--all", "--json"))) == 1
    told = json.loads(shell.ok("orders", "reconcile", "--json"))
    assert (told["ran"], told["settled"], told["unknown"]) == (True, 2, 0)
    assert shell.ok("orders", "reconcile") == (
        "Settled 2, absent 0, not sent 0, confirmed 0.\nNo order is unknown.\n"
    )
    shown = shell.ok("config", "check")
    assert "The configuration is valid" in shown
    assert "CANARY" not in shown
    rows = {row["variable"]: row for row in json.loads(shell.ok("config", "check", "--json"))}
    assert rows["JAINAM_MARKET_API_KEY"]["value"] == "(set)"
    assert rows["JAINAM_BASE_URL"]["origin"] == "environment"


def test_a_missing_database_is_a_sentence(tmp_path: Path, venue: Venue) -> None:
    with sqlite_database(tmp_path, upgraded=False) as database:
        shell = Shell(Stack(database, tmp_path, ManualClock()))
        assert "flask --app app db upgrade" in shell.fails("users", "list")
