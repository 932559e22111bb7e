"""Logging in: login kinds, host look-up, both APIs, what a session is (XTS reference §2.3, §3).

Two kinds, named in the declaration: "direct" (key and secret at the interactive API) and
"hostlookup" (ask the look-up which path to use, with direct login as the fallback). From a look-up
only path and port are taken, and only when it names a host of the declaration: credentials never
follow an address that an answer invents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from broker.base import AccountConfig, Deadline, Runtime
from broker.errors import (
    BrokerError,
    ConnectFailed,
    LoginFailed,
    OutcomeUnknown,
    ProtocolError,
    RateLimited,
    Refused,
    SessionExpired,
)
from broker.models import Secret, Session
from broker.xts import client as calls
from broker.xts.client import Line, Wire
from broker.xts.dealers import CLIENT_CODES, IS_INVESTOR, MARKET_USER_ID, USER_ID
from broker.xts.envelope import Api, Endpoint
from broker.xts.profile import LOGIN_HOST_LOOKUP, LOOPBACK_HOSTS, XtsProfile
from broker.xts.values import IST, Unreadable, flag, text, token_expiry

INTERACTIVE_PATH = "interactivePath"
INTERACTIVE_PORT = "interactivePort"
MARKET_ERROR = "marketDataError"
MARKET_REFUSED = "marketDataRefused"

_CREDENTIAL_WORDS = re.compile(
    r"credential|invalid|incorrect|wrong|app ?key|secret|not (found|valid|exist)", re.IGNORECASE
)
_STRAY = " \t\r\n`'\""
_MARKET_ATTEMPTS = 2  # a blip must not cost a day of quotes; a refusal is final at once


@dataclass(frozen=True, slots=True)
class Base:
    """Where the interactive API of one login is: "" and None mean the declaration's own."""

    path: str = ""
    port: int | None = None
    unique_key: str = ""


class Login:
    """One login of one account. `lines` gives the call line of an API at a base."""

    def __init__(
        self,
        profile: XtsProfile,
        account: AccountConfig,
        runtime: Runtime,
        lines: Callable[[Api, Base], Line],
        deadline: Deadline | None = None,
    ) -> None:
        self._profile = profile
        self._account = account
        self._runtime = runtime
        self._lines = lines
        self._wire = Wire(account.label, runtime)
        own = account.api_timeout
        self._deadline = deadline.within(own) if deadline else Deadline(runtime.clock, own)

    def run(self) -> Session:
        """Log in to both APIs, each once.

        Without the interactive API there is no session. Without market data there is one, and the
        observer is told: the way out of a position must not hang on quotes. Its calls then raise
        `LoginFailed` when the venue refused the login, and a partial `SessionExpired` otherwise.
        """
        base, result = self._interactive()
        token = _token(result)
        tokens = {Api.INTERACTIVE.value: Secret(token)}
        details = _details(result)
        details[INTERACTIVE_PATH] = base.path
        details[INTERACTIVE_PORT] = str(base.port or "")
        try:
            market = self._market()
            tokens[Api.MARKET.value] = Secret(_token(market))
            details[MARKET_USER_ID] = text(market.get("userID"))
        except (BrokerError, Unreadable) as exc:
            details[MARKET_ERROR] = str(exc)
            details[MARKET_REFUSED] = str(isinstance(exc, LoginFailed)).lower()
            self._tell("market_data_login", str(exc))
        now = self._runtime.clock.now()
        return Session(tokens, details, opened_at=now, expires_at=self._expiry(token, now))

    # Interactive ---------------------------------------------------------------------------

    def _interactive(self) -> tuple[Base, Mapping[str, object]]:
        if self._profile.login != LOGIN_HOST_LOOKUP or not self._account.host_lookup:
            return Base(), self._session(Base())
        base = self._looked_up()
        if base is None:
            return Base(), self._session(Base())
        try:
            return base, self._session(base)
        except (ConnectFailed, ProtocolError, OutcomeUnknown) as exc:
            # The place that the look-up named does not answer as an API does (§2.3).
            self._tell("host_lookup", f"login there failed, falling back to direct: {exc}")
            return Base(), self._session(Base())

    def _looked_up(self) -> Base | None:
        """What the host look-up says; None (and the observer is told) when it can't be used."""
        lookup = self._profile.lookup
        body = {"accesspassword": lookup.access_password, "version": lookup.version}
        try:
            result = self._wire.read(
                self._lines(Api.LOOKUP, Base()),
                calls.HOST_LOOKUP,
                deadline=self._deadline,
                body=body,
                share=0.4,
            )
            return base_from(result, self._profile, self._account)
        except BrokerError as exc:
            self._tell("host_lookup", f"falling back to direct login: {exc}")
            return None

    def _session(self, base: Base) -> Mapping[str, object]:
        body = self._keys("interactive")
        if base.unique_key:
            body["uniqueKey"] = base.unique_key
        line = self._lines(Api.INTERACTIVE, base)
        return self._log_in(line, calls.INTERACTIVE_LOGIN, body)

    # Market data ---------------------------------------------------------------------------

    def _market(self) -> Mapping[str, object]:
        line = self._lines(Api.MARKET, Base())
        for _ in range(_MARKET_ATTEMPTS - 1):
            try:
                return self._log_in(line, calls.MARKET_LOGIN, self._keys("market"))
            except (ConnectFailed, OutcomeUnknown, RateLimited):
                continue
        return self._log_in(line, calls.MARKET_LOGIN, self._keys("market"))

    # Both ----------------------------------------------------------------------------------

    def _keys(self, api: str) -> dict[str, str]:
        given = self._account.credentials
        key, secret = given.get(f"{api}_api_key"), given.get(f"{api}_api_secret")
        if not key or not secret:
            raise LoginFailed(f"Authentication failed: the {api} API key or secret is not set.")
        return {
            "appKey": key.reveal(),
            "secretKey": secret.reveal(),
            "source": self._profile.source,
        }

    def _log_in(self, line: Line, endpoint: Endpoint, body: dict[str, str]) -> Mapping[str, object]:
        try:
            result = self._wire.read(line, endpoint, deadline=self._deadline, body=body)
        except (Refused, SessionExpired) as exc:
            raise LoginFailed(_failure(exc, body), code=exc.code) from None
        if not isinstance(result, dict):
            raise ProtocolError(f"The broker answered the {endpoint.name} without a session.")
        return result

    def _expiry(self, token: str, now: datetime) -> datetime:
        """The next restart of the servers, or the token's own end if that is earlier (§3.5)."""
        local = now.astimezone(IST)
        end = datetime.combine(local.date(), self._profile.session_end, tzinfo=IST)
        if end <= local:
            end += timedelta(days=1)
        claim = token_expiry(token)
        return min(end, claim.astimezone(IST)) if claim is not None and claim > now else end

    def _tell(self, what: str, detail: str) -> None:
        self._runtime.observer.anomaly(self._account.label, what, detail)


def _token(result: Mapping[str, object]) -> str:
    token = result.get("token")
    if not isinstance(token, str) or not token.strip():
        raise ProtocolError("The broker's login holds no token.")
    return token.strip()


def _details(result: Mapping[str, object]) -> dict[str, str]:
    """What a login says about itself (§3.1); no secret among it."""
    codes = result.get("clientCodes")
    try:
        names = [text(code) for code in codes] if isinstance(codes, list) else []
        return {
            USER_ID: text(result.get("userID")),
            CLIENT_CODES: ",".join(name for name in names if name),
            IS_INVESTOR: (
                str(flag(result["isInvestorClient"])).lower()
                if "isInvestorClient" in result
                else ""
            ),
        }
    except Unreadable as exc:
        raise ProtocolError(f"The broker's login can't be read: {exc}.") from None


def _failure(exc: BrokerError, sent: Mapping[str, str]) -> str:
    """Why a login failed, in a sentence that never repeats what was sent."""
    words = exc.message
    for value in sent.values():
        words = words.replace(value, "***")
    if _CREDENTIAL_WORDS.search(words) or isinstance(exc, SessionExpired):
        return f"Authentication failed: Invalid credentials. The broker says: {words}"
    return f"Authentication failed: {words}"


def base_from(result: object, profile: XtsProfile, account: AccountConfig) -> Base:
    """The base that a look-up's answer names (§2.3). `ProtocolError` when it must not be used.

    The connection string may carry stray blanks or back-ticks, be relative, or a bare host and
    port. A path is taken from any host of the declaration, a port only from the very host that
    is called, the scheme never.
    """
    fields = result if isinstance(result, dict) else {}
    key, connection = fields.get("uniqueKey"), fields.get("connectionString")
    if not isinstance(key, str) or not key.strip():
        raise ProtocolError("The host look-up gave no key.")
    if not isinstance(connection, str):
        raise ProtocolError("The host look-up gave no connection string.")
    connection = connection.strip(_STRAY)
    if not connection.startswith("/") and "//" not in connection:
        connection = f"//{connection}" if connection else ""
    try:
        parts = urlsplit(connection)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ProtocolError("The host look-up gave no usable connection string.") from None
    path = parts.path.rstrip("/")
    if path and not re.fullmatch(r"(/[A-Za-z0-9_-]+)+", path):
        raise ProtocolError("The host look-up gave a path that is none.")
    called = urlsplit(account.base_url or profile.cluster(account.cluster).root).hostname or ""
    same = host == called or (host in LOOPBACK_HOSTS and called in LOOPBACK_HOSTS)
    if host and not same and host not in profile.allowed_hosts():
        raise ProtocolError(f"The host look-up names a foreign host: {host[:80]!r}.")
    return Base(path=path, port=port if same else None, unique_key=key.strip())


def base_of(session: Session) -> Base:
    """Where the interactive API of an open session is."""
    port = session.details.get(INTERACTIVE_PORT, "")
    return Base(
        path=session.details.get(INTERACTIVE_PATH, ""), port=int(port) if port.isdigit() else None
    )
