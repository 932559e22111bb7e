"""Sessions and tokens: one interactive session per app key, JWT-like raw tokens (§3)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulator.clock import Clock
from simulator.envelope import dumps
from simulator.limits import Windows
from simulator.profiles import Credential

INTERACTIVE = "interactive"
MARKET = "market"
_MAX_DEAD = 10_000


@dataclass(slots=True, eq=False)
class Session:
    """One login of one API; `subscriptions` maps a message code to (segment, token) pairs."""

    token: str
    profile: str
    api: str
    credential: Credential
    issued: float
    expires: float
    windows: Windows
    serial: int
    source: str = "WEBAPI"
    subscriptions: dict[int, set[tuple[int, int]]] = field(default_factory=dict)

    @property
    def user_id(self) -> str:
        if self.api == INTERACTIVE:
            return self.credential.user_id
        return self.credential.market_user_id

    @property
    def key(self) -> str:
        if self.api == INTERACTIVE:
            return self.credential.interactive_key
        return self.credential.market_key


def _segment(value: dict[str, Any]) -> str:
    raw = dumps(value)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class SessionStore:
    """Live sessions by token, and which venue a dead token belonged to."""

    def __init__(self, clock: Clock, secret: bytes) -> None:
        self._clock = clock
        self._secret = secret
        self._live: dict[str, Session] = {}
        self._by_key: dict[tuple[str, str], Session] = {}
        self._dead: OrderedDict[str, str] = OrderedDict()
        self._serial = 0
        #: Called with a session that another login displaced (a socket server says `logout`).
        self.on_displaced: list[Callable[[Session], None]] = []

    def open(self, credential: Credential, api: str, seconds: int, source: str) -> Session:
        """Log in. A second interactive login of the same key kills the first session (§3.5)."""
        self._serial += 1
        now = self._clock.wall()
        key = credential.interactive_key if api == INTERACTIVE else credential.market_key
        user = credential.user_id if api == INTERACTIVE else credential.market_user_id
        public = hashlib.sha256(f"{key}:{self._serial}".encode()).hexdigest()[:22]
        claims: dict[str, Any] = {
            "userID": f"{user}_{public}",
            "publicKey": public,
            "iat": int(now),
            "exp": int(now) + seconds,
        }
        if api == INTERACTIVE:
            claims["isInteractive"] = True
        signed = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims)}"
        mac = hmac.new(self._secret, signed.encode(), hashlib.sha256).digest()
        token = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        session = Session(
            token=token,
            profile=credential.profile,
            api=api,
            credential=credential,
            issued=now,
            expires=now + seconds,
            windows=Windows(self._clock.mono),
            serial=self._serial,
            source=source,
        )
        if api == INTERACTIVE:
            previous = self._by_key.get((api, key))
            if previous is not None:
                self.kill(previous)
                for listener in self.on_displaced:
                    listener(previous)
            self._by_key[(api, key)] = session
        self._live[token] = session
        return session

    def find(self, token: str) -> Session | None:
        """The live session of a token, or None when it is unknown, displaced or expired."""
        session = self._live.get(token)
        if session is not None and session.expires <= self._clock.wall():
            self.kill(session)
            return None
        return session

    def profile_of_dead(self, token: str) -> str | None:
        """The venue a dead token once belonged to, which decides the form of the refusal."""
        return self._dead.get(token)

    def kill(self, session: Session) -> None:
        """Make a session's token dead."""
        self._live.pop(session.token, None)
        if self._by_key.get((session.api, session.key)) is session:
            del self._by_key[(session.api, session.key)]
        self._dead[session.token] = session.profile
        while len(self._dead) > _MAX_DEAD:
            self._dead.popitem(last=False)

    def kill_all(self, profile: str | None = None, api: str | None = None) -> int:
        """Kill every session of a profile and API; returns how many."""
        doomed = [
            s
            for s in self._live.values()
            if (profile is None or s.profile == profile) and (api is None or s.api == api)
        ]
        for session in doomed:
            self.kill(session)
        return len(doomed)

    def live(self, profile: str | None = None) -> list[Session]:
        """Live sessions, oldest first."""
        return [s for s in self._live.values() if profile is None or s.profile == profile]
