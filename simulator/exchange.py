"""The whole simulated exchange: shared market, one engine per profile, sessions, faults, limits."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from simulator.clock import Clock
from simulator.envelope import XtsError
from simulator.faults import FaultPlan
from simulator.limits import PUBLISHED
from simulator.market import catalog as catalogs
from simulator.market.master import FULL
from simulator.market.prices import PriceBook
from simulator.market.quotes import Quotes
from simulator.market.symbols import Symbols
from simulator.oms.engine import Defer, Engine, at_once
from simulator.oms.rollover import roll
from simulator.profiles import PROFILES, Credential, builtin_credentials
from simulator.sessions import INTERACTIVE, Session, SessionStore
from simulator.settings import Behaviour, Quirks
from simulator.truth import Truth

MAX_UNIQUE_KEYS = 1_000


@dataclass(slots=True)
class LookupSettings:
    """How host lookup answers: form of the connection string (§2.3), or a failure.

    form: "cluster" ({root}/{N}hostlookup), "interactive" ({root}/{N}interactive), "relative",
    "bare" (host:port), "padded" (stray spaces and back-ticks); root overrides scheme and host.
    """

    form: str = "cluster"
    cluster: int = 1
    fail: bool = False
    root: str = ""


@dataclass(slots=True)
class Options:
    """What the simulator is started with."""

    profiles: tuple[str, ...] = tuple(PROFILES)
    size: str = FULL
    seed: int = 1
    cache_dir: Path | None = None
    limits: bool = True
    latency: str = "off"
    malformed: int = 0
    empty_segments: frozenset[str] = frozenset()
    day: date | None = None
    always_open: bool = True


class Exchange:
    """Everything that lives as long as the process."""

    def __init__(
        self, options: Options, clock: Clock | None = None, defer: Defer = at_once
    ) -> None:
        self.options = options
        self.clock = clock or Clock(always_open=options.always_open)
        day = options.day or self.clock.trading_date()
        self.catalog = catalogs.build(
            options.size, options.seed, day, options.cache_dir, options.empty_segments
        )
        self.catalog.malformed = options.malformed
        self.prices = PriceBook(self.catalog, self.clock, options.seed)
        self.quotes = Quotes(self.prices, self.clock)
        self.symbols = Symbols(self.catalog)
        self.sessions = SessionStore(self.clock, secrets.token_bytes(32))
        self.faults = FaultPlan()
        self.lookup = LookupSettings()
        self.limits: dict[str, tuple[int, float]] = dict(PUBLISHED) if options.limits else {}
        self.credentials: dict[tuple[str, str], Credential] = {}
        self.unique_keys: dict[str, float] = {}
        #: Requests that belong to no known session (wrong login, unknown token, host lookup).
        self.stray = Truth()
        self.engines: dict[str, Engine] = {}
        for name in options.profiles:
            engine = Engine(
                PROFILES[name], self.catalog, self.prices, self.clock, options.seed, defer
            )
            engine.behaviour.latency = options.latency
            self.engines[name] = engine
        for credential in builtin_credentials():
            if credential.profile in self.engines:
                self.add_credential(credential)

    def add_credential(self, credential: Credential) -> None:
        """Let one more login in; ValueError when a key is taken or the profile is not served."""
        engine = self.engines.get(credential.profile)
        if engine is None:
            raise ValueError(f"profile {credential.profile!r} is not served")
        keys = (("interactive", credential.interactive_key), ("market", credential.market_key))
        for key in keys:
            if key in self.credentials:
                raise ValueError(f"app key {key[1]!r} is taken")
        for key in keys:
            self.credentials[key] = credential
        engine.add_credential(credential)

    def engine_of(self, session: Session) -> Engine:
        return self.engines[session.profile]

    def login(self, api: str, body: dict[str, Any]) -> Session:
        """Check app key and secret; XtsError when they are wrong or missing."""
        key, secret = body.get("appKey"), body.get("secretKey")
        credential = self.credentials.get((api, key)) if isinstance(key, str) else None
        if credential is None:
            raise XtsError("e-login-0001", "Invalid credentials: appKey or secretKey is wrong")
        expected = credential.interactive_secret if api == INTERACTIVE else credential.market_secret
        if not isinstance(secret, str) or not secrets.compare_digest(
            secret.encode(), expected.encode()
        ):
            raise XtsError("e-login-0001", "Invalid credentials: appKey or secretKey is wrong")
        quirks = self.engines[credential.profile].quirks
        unique = body.get("uniqueKey")
        if api == INTERACTIVE and (unique is not None or quirks.require_unique_key):
            known = self.unique_keys.get(unique) if isinstance(unique, str) else None
            if known is None:
                raise XtsError("e-login-0002", "Invalid uniqueKey: please do the host lookup first")
        source = body.get("source")
        return self.sessions.open(
            credential, api, quirks.token_seconds, source if isinstance(source, str) else ""
        )

    def new_unique_key(self) -> str:
        """A key for one more login through host lookup."""
        key = secrets.token_hex(16)
        self.unique_keys[key] = self.clock.wall()
        while len(self.unique_keys) > MAX_UNIQUE_KEYS:
            self.unique_keys.pop(next(iter(self.unique_keys)))
        return key

    def tick(self) -> None:
        """Let time pass: trading days end, resting orders meet the moved price."""
        for engine in self.engines.values():
            roll(engine)
            if engine.matching.waiting:
                engine.matching.tick()

    def reset(self, profiles: Iterable[str] | None = None, *, sessions: bool = False) -> None:
        """Back to the start: orders, accounts, quirks; and faults, prices, clock when for all.

        Logins stay unless `sessions` says otherwise.
        """
        for name in profiles if profiles is not None else list(self.engines):
            engine = self.engines[name]
            engine.quirks = Quirks()
            engine.behaviour = Behaviour(latency=self.options.latency)
            engine.settings_changed()
            engine.clear()
            if sessions:
                self.sessions.kill_all(name)
        if profiles is None:
            self.faults.load(0, [])
            self.prices.reset()
            self.catalog.reset()
            self.clock.reset()
            self.lookup = LookupSettings()
            self.stray.clear(self.clock.mono_ns())
            self.limits = dict(PUBLISHED) if self.options.limits else {}
            for engine in self.engines.values():
                engine.day = self.clock.trading_date()


@dataclass(slots=True)
class Context:
    """One request as the route handlers see it."""

    exchange: Exchange
    method: str
    prefix: str
    query: dict[str, str]
    body: dict[str, Any]
    session: Session | None
    received: int
    host: str = ""
    drop: bool = False
    cutoff: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def who(self) -> Session:
        """The session of a route that demands one."""
        if self.session is None:
            raise XtsError("e-token-0002", "Please Provide token to Authenticate")
        return self.session

    @property
    def engine(self) -> Engine:
        return self.exchange.engines[self.who.profile]

    @property
    def client(self) -> str:
        """`clientID` of the query, stray spaces gone (Q42)."""
        return self.query.get("clientID", "").strip()
