"""When an account may log in by itself: back-off, daily cap and when to stop fighting.

Pure rules over one small record per account (`LoginState`), which all processes share through the
database. A venue of the XTS kind keeps one session per app key, so two clients that both log in
on every dead token displace each other for ever (XTS reference §3.5); these rules end that:

* a wrong secret is permanent: no further login until a person connects or the secret changes;
* other failures back off exponentially, with jitter;
* sessions that die young, several in a row, mean that somebody else uses the key: stop, alarm;
* at most `daily_cap` logins that reached the venue per trading day (IST date).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from broker.errors import BrokerError, Fate, LoginFailed, SessionExpired
from utils.clock import end_of_trading_day, ist, trading_day

CREDENTIALS_REFUSED = "login_refused"
DISPLACED = "session_displaced"
CAP_REACHED = "login_cap_reached"


@dataclass(frozen=True, slots=True)
class LoginState:
    """What is remembered of an account's logins.

    `wanted` is False after a person disconnected. `blocked` is the sentence that says why there is
    no automatic login until a person acts, `rule` the alarm it belongs to. `failures` and
    `short_lives` count in a row. `attempts` counts the logins of `day` (IST) that may have reached
    the venue. `mark` identifies the credentials that were used, without telling them.
    """

    wanted: bool = True
    blocked: str = ""
    rule: str = ""
    failures: int = 0
    short_lives: int = 0
    not_before: datetime | None = None
    day: date | None = None
    attempts: int = 0
    last_attempt_at: datetime | None = None
    last_error: str = ""
    mark: str = ""

    def attempts_on(self, now: datetime) -> int:
        """How many logins of this trading day may have reached the venue."""
        return self.attempts if self.day == trading_day(now) else 0

    def to_json(self) -> str:
        """The record as text for the database."""
        return json.dumps(asdict(self), default=lambda value: value.isoformat())

    @classmethod
    def from_json(cls, text: str | None) -> LoginState:
        """The record from its text; a fresh one where there is none."""
        if not text:
            return cls()
        fields: dict[str, Any] = json.loads(text)
        for name in ("not_before", "last_attempt_at"):
            if fields.get(name):
                fields[name] = datetime.fromisoformat(fields[name])
        if fields.get("day"):
            fields["day"] = date.fromisoformat(fields["day"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class LoginPolicy:
    """The figures of the rules; times in seconds, `opens` and `closes` times of day in India."""

    daily_cap: int = 20
    backoff_first: float = 2.0
    backoff_max: float = 300.0
    short_life: float = 60.0
    short_lives_allowed: int = 3
    partial_pause: float = 300.0
    opens: time = time(8, 0)
    closes: time = time(23, 55)

    def check(self, state: LoginState, label: str, now: datetime) -> None:
        """Return when an automatic login is allowed now; else say why it is not.

        `LoginFailed` when a person has to act, `SessionExpired` with `retry_after` when time helps.
        """
        if not state.wanted:
            raise SessionExpired(f"Account '{label}' is disconnected. Connect it to use it.")
        if state.blocked:
            raise LoginFailed(
                f"{_sentence(state.blocked)} "
                f"Account '{label}' stays logged out until somebody connects it."
            )
        if self.is_capped(state, now):
            raise LoginFailed(
                f"Account '{label}' has logged in {state.attempts} times today, which is the "
                "limit. Somebody has to connect it."
            )
        if state.not_before is not None and now < state.not_before:
            wait = (state.not_before - now).total_seconds()
            why = _sentence(state.last_error) or "It died right after its login."
            raise SessionExpired(
                f"Account '{label}' has no session. {why} "
                f"The next login is tried in {wait:.0f} seconds.",
                retry_after=wait,
            )

    def check_partial(self, state: LoginState, label: str, now: datetime) -> None:
        """Return when a session of which only market data died may be replaced now.

        The rest of it works, and orders matter more: one login in `partial_pause` seconds, and
        half of the day's logins stay in reserve. `LoginFailed` otherwise.
        """
        last = state.last_attempt_at
        wait = self.partial_pause - (now - last).total_seconds() if last is not None else 0.0
        if wait > 0 or state.blocked or state.attempts_on(now) >= self.daily_cap // 2:
            raise LoginFailed(
                f"Market data of '{label}' is not available: its session died. Trading works. "
                "Somebody may connect the account again.",
                retry_after=wait if wait > 0 else None,
            )

    def is_capped(self, state: LoginState, now: datetime) -> bool:
        """Whether the day's automatic logins are used up."""
        return state.attempts_on(now) >= self.daily_cap

    def next_login(
        self, state: LoginState, expires_at: datetime | None, now: datetime
    ) -> datetime | None:
        """When the account logs in without being used, None when only a person can connect it.

        That is on working days between `opens` and `closes`; whoever uses the account at another
        time makes it log in then.
        """
        if not state.wanted or state.blocked:
            return None
        due = max(now, expires_at or now, state.not_before or now)
        if self.is_capped(state, now):
            due = max(due, end_of_trading_day(now))
        local = ist(due)
        if local.time() >= self.closes:
            local = _at(local + timedelta(days=1), self.opens)
        elif local.time() < self.opens:
            local = _at(local, self.opens)
        while local.isoweekday() > 5:
            local = _at(local + timedelta(days=1), self.opens)
        return local.astimezone(UTC)

    def attempted(self, state: LoginState, now: datetime, mark: str) -> LoginState:
        """Count a login that is about to be sent."""
        today = trading_day(now)
        return replace(
            state,
            day=today,
            attempts=state.attempts_on(now) + 1,
            last_attempt_at=now,
            mark=mark,
        )

    def succeeded(self, state: LoginState) -> LoginState:
        """The venue gave a session. Short lives are forgotten only by one that lasts."""
        return replace(
            state, wanted=True, blocked="", rule="", failures=0, not_before=None, last_error=""
        )

    def failed(
        self, state: LoginState, error: BrokerError, now: datetime, rand: Callable[[], float]
    ) -> LoginState:
        """A login failed: a refusal is permanent, all else waits longer each time."""
        if isinstance(error, LoginFailed):
            return replace(
                state, blocked=error.message, rule=CREDENTIALS_REFUSED, last_error=error.message
            )
        failures = state.failures + 1
        reached = error.fate is not Fate.NOT_SENT
        return replace(
            state,
            failures=failures,
            attempts=state.attempts if reached else state.attempts - 1,
            not_before=now + self._backoff(failures, rand, error.retry_after),
            last_error=error.message,
        )

    def died(
        self, state: LoginState, opened_at: datetime, now: datetime, rand: Callable[[], float]
    ) -> LoginState:
        """The venue no longer accepts a session of ours that was opened at `opened_at`.

        The first early death is met with a login at once, later ones after a pause, and when more
        than `short_lives_allowed` follow each other the account is blocked.
        """
        if (now - opened_at).total_seconds() >= self.short_life:
            return replace(state, short_lives=0)
        lives = state.short_lives + 1
        if lives > self.short_lives_allowed:
            return replace(
                state,
                short_lives=lives,
                rule=DISPLACED,
                blocked=(
                    f"{lives} sessions in a row died within {self.short_life:.0f} seconds of "
                    "their login: another program uses the same app key."
                ),
            )
        if lives == 1:
            return replace(state, short_lives=lives)
        return replace(
            state, short_lives=lives, not_before=now + self._backoff(lives - 1, rand, None)
        )

    def forgiven(self, state: LoginState) -> LoginState:
        """A person connects, or new credentials came: everything but the day's count is forgotten.
        """
        return LoginState(day=state.day, attempts=state.attempts)

    def _backoff(
        self, times: int, rand: Callable[[], float], asked: float | None
    ) -> timedelta:
        wait: float = min(self.backoff_max, self.backoff_first * 2.0 ** min(times - 1, 20))
        return timedelta(seconds=max(wait * (0.75 + 0.5 * rand()), asked or 0.0))


def _at(local: datetime, clock: time) -> datetime:
    return local.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)


def _sentence(text: str) -> str:
    """The broker's words, closed with a full stop."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
