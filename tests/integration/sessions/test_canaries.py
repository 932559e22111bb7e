"""Canaries in every credential and token: nothing that comes out may hold one (field defect 35)."""

from __future__ import annotations

import gc
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask

import cli
from broker.base import Broker, Deadline
from broker.errors import BrokerError
from cli.support import EXTENSION
from database.engine import Database
from services.accounts import NewAccount
from services.errors import ServiceError
from simulator.testing import ThreadSimulator, credential
from tests.support.simulated import credentials_of, variables
from tests.support.stacks import PEPPER, SECRET_KEY, Stack
from utils.config import display
from utils.logging import configure_logging

CANARY = "CANARY"
SECRETS = (CANARY, SECRET_KEY, PEPPER)


def planted(name: str) -> dict[str, object]:
    """A login of the simulator whose four credentials are canaries."""
    return {
        **credential("jainam-b", "pro1"),
        "label": name,
        "interactive_key": f"{CANARY}{name}INTERACTIVE",
        "interactive_secret": f"{CANARY}#{name}$int",
        "market_key": f"{CANARY}{name}MARKET",
        "market_secret": f"{CANARY}@{name}$mkt",
        "user_id": f"USER{name}",
        "market_user_id": f"USER{name}MD",
        "client_codes": [f"USER{name}"],
    }


@pytest.fixture
def canaries(
    make_stack: Callable[..., Stack], sim: ThreadSimulator
) -> tuple[Stack, dict[str, str]]:
    first, second = planted("ONE"), planted("TWO")
    sim.control("credentials", first)
    sim.control("credentials", second)
    names = {f"JAINAM_{k.upper()}": v for k, v in credentials_of(first).items()}
    sim.control("limits", {"mode": "off"})
    return make_stack(BROKER_LIMITS="off", JAINAM_RETRY_COUNT="0", **names), credentials_of(second)


@pytest.fixture
def log_files(
    tmp_path: Path, canaries: tuple[Stack, dict[str, str]], sim: ThreadSimulator
) -> Iterator[Path]:
    """The log files of a gateway at DEBUG, set up as it sets them up."""
    folder = tmp_path / "log"
    settings = canaries[0].settings.model_copy(update={"log_dir": folder, "log_level": "DEBUG"})
    before = {
        name: (list(logger.handlers), logger.level, logger.propagate)
        for name in (None, "openalgo", "gunicorn.access", "gunicorn.error")
        for logger in [logging.getLogger(name)]
    }
    configure_logging(settings, console=False)
    yield folder
    for name, (handlers, level, propagate) in before.items():
        logger = logging.getLogger(name)
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def tokens_of(brokers: list[Broker]) -> set[str]:
    """The tokens that these adapters have attached."""
    sessions = [broker.session for broker in brokers]
    return {t.reveal() for s in sessions if s is not None for t in s.tokens.values()}


def everything_fails(stack: Stack, sim: ThreadSimulator, token: str) -> list[str]:
    """The words of every failure that reading can meet, as a client or a log would get them."""
    found = []
    rules = ("error_500", "error_502_html", "malformed_json", "half_body", "refuse",
             "close_before_accept", "rate_limit_429", "dead_token", "empty_body", "html_200")

    def read(broker: Broker, by: Deadline) -> object:
        return broker.funds(deadline=by)

    for kind in rules:
        sim.faults({"route": "GET /user/balance", "fault": kind, "count": 1})
        try:
            stack.sessions.read(stack.account, read, Deadline(stack.clock, 1.5))
        except (BrokerError, ServiceError) as error:
            logging.getLogger("services.test").exception("it failed with %s", token)
            found += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
        sim.faults()
        stack.sessions.read(stack.account, read)  # so that the circuit stays closed
    return found


def test_no_canary_comes_out(
    canaries: tuple[Stack, dict[str, str]], sim: ThreadSimulator, log_files: Path,
    main_database: Database,
) -> None:
    stack, second = canaries
    stack.sessions.connection(stack.account)
    root = stack.user("root", is_admin=True)
    view, key = stack.access.create_key(root, "laptop", "admin")
    stack.accounts.add(root, NewAccount("two", "jainam_prop", second, shared=True))
    stack.sessions.connect_all()
    held = [stack.sessions.connection(account) for account in stack.accounts.all()]
    assert len(held) == 2
    tokens = tokens_of(held)
    assert len(tokens) == 4

    seen = commands(stack)
    tokens |= tokens_of(held)
    seen += everything_fails(stack, sim, min(tokens))
    tokens |= tokens_of(held)
    assert len(tokens) >= 8
    forbidden = (*SECRETS, *tokens, key)
    assert len(seen) >= 30
    seen.append(
        f"{stack.settings!r} {stack.settings.model_dump()} {stack.access!r} {stack.accounts!r} "
        f"{stack.vault!r} {stack.runtime!r} {view!r} {root!r} {stack.alarms.history()!r}"
    )
    for account, broker in zip(stack.accounts.all(), held, strict=True):
        config = stack.accounts.config(account)
        seen.append(
            f"{account!r} {broker!r} {config!r} {vars(broker)!r} {broker.session!r} "
            f"{stack.sessions.status(account)!r} {stack.sessions._adapters.hold(account)!r} "
            f"{NewAccount('x', 'jainam_prop', second)!r}"
        )
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(config)
    seen.append(json.dumps({name: display(stack.settings, name) for name in (
        "JAINAM_INTERACTIVE_API_KEY", "SECRET_KEY", "API_KEY_PEPPER",
    )}))
    written = "".join(path.read_text() for path in log_files.iterdir())
    assert "it failed with ***" in written
    assert "is connected until" in written
    seen.append(written)
    for text in seen:
        for secret in forbidden:
            assert secret not in text, text[max(0, text.index(secret) - 200):][:400]

    main_database.dispose()
    gc.collect()
    for path in Path(str(main_database.url.database)).parent.glob("openalgo.db*"):
        stored = path.read_bytes()
        for secret in forbidden:
            assert secret.encode() not in stored, path


def commands(stack: Stack) -> list[str]:
    """What the command line prints about all of it."""
    app = Flask("test")
    app.extensions[EXTENSION] = SimpleNamespace(gateway=SimpleNamespace(
        settings=stack.settings, access=stack.access, accounts=stack.accounts,
        sessions=stack.sessions, flags=stack.flags, alarms=stack.alarms,
        registry=stack.accounts._registry,
    ))
    cli.register(app)
    runner = app.test_cli_runner()
    shown = []
    for words in (
        "accounts list", "accounts list --json", "brokers list --json", "api-key list --json",
        "users list --json", "config check", "config check --json", "flags list",
        "alarms list --all --json", "accounts login jainam_prop --force", "accounts logout two",
        "accounts self-check jainam_prop --json",
    ):
        result = runner.invoke(args=words.split())
        assert result.exit_code == 0, result.output
        shown.append(result.output)
    return shown


def test_the_environment_of_the_test_is_what_it_seems(sim: ThreadSimulator) -> None:
    """The simulator accepts a planted login: otherwise the search would look through nothing."""
    sim.control("credentials", planted("THREE"))
    assert variables(sim.url)["JAINAM_BASE_URL"] == sim.url
    shown = json.dumps(sim.control("credentials", None, profile="jainam-b"))
    assert f"{CANARY}THREEINTERACTIVE" in shown
