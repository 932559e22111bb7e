"""Errors on two axes: what happened to the order, and what helps.

Each class fixes both. HTTP status, retry policy, metric label and the page `docs/errors.md` follow
from the class alone (design: "Errors have two axes").
"""

from __future__ import annotations

from enum import StrEnum


class Fate(StrEnum):
    """What is known about an order when the error is raised."""

    NOT_SENT = "not_sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NONE = "none"


class Remedy(StrEnum):
    """What helps."""

    CORRECT = "correct the request"
    RETRY = "try again later"
    LOGIN = "log in again"
    ASK = "ask for the outcome with the reference"
    OPERATOR = "tell the operator"
    NOTHING = "nothing"


class BrokerError(Exception):
    """Root of everything that an adapter raises.

    `message` is a sentence that stands alone and may be shown to a client. `code` is the broker's
    own code or "" ; `retry_after` seconds, where known. Never put a secret into any of them.
    `reference` is for the application: its own name of the order concerned, set on the way up.
    """

    fate: Fate = Fate.NONE
    remedy: Remedy = Remedy.OPERATOR
    http_status: int = 500
    kind: str = "broker_error"
    reference: str = ""

    def __init__(self, message: str, *, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retry_after = retry_after


class InvalidOrder(BrokerError):
    """Our own refusal before anything is sent; `field` names what to correct."""

    fate = Fate.NOT_SENT
    remedy = Remedy.CORRECT
    http_status = 400
    kind = "invalid_order"

    def __init__(self, message: str, *, field: str = "", code: str = "") -> None:
        super().__init__(message, code=code)
        self.field = field


class ConnectFailed(BrokerError):
    """DNS, connect, TLS or pool failure: provably nothing left this host."""

    fate = Fate.NOT_SENT
    remedy = Remedy.RETRY
    http_status = 503
    kind = "connect_failed"


class BrokerBusy(BrokerError):
    """Our own queue is full, the wait was too long, or the circuit is open: nothing was sent."""

    fate = Fate.NOT_SENT
    remedy = Remedy.RETRY
    http_status = 429
    kind = "broker_busy"


class LimitsUnknown(BrokerBusy):
    """Nobody can count the broker's limits now (the shared storage is away): nothing was sent."""

    http_status = 503
    kind = "limits_unknown"


class CircuitOpen(BrokerBusy):
    """The broker has failed repeatedly; calls are held back until it has had time to recover."""

    http_status = 503
    kind = "circuit_open"


class RateLimited(BrokerError):
    """The venue says that we call too often, with a code documented to precede acceptance."""

    fate = Fate.REFUSED
    remedy = Remedy.RETRY
    http_status = 429
    kind = "rate_limited"


class SessionExpired(BrokerError):
    """The venue does not accept the token, by a documented code, or there is no session.

    `partial`: only a part of the session that trading can do without is dead (market data).
    """

    fate = Fate.REFUSED
    remedy = Remedy.LOGIN
    http_status = 503
    kind = "session_expired"

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        retry_after: float | None = None,
        partial: bool = False,
    ) -> None:
        super().__init__(message, code=code, retry_after=retry_after)
        self.partial = partial


class LoginFailed(BrokerError):
    """Wrong credentials, or a login that may not be repeated without a person."""

    fate = Fate.NOT_SENT
    remedy = Remedy.LOGIN
    http_status = 503
    kind = "login_failed"


class Refused(BrokerError):
    """RMS, exchange or validation said no; `message` carries the broker's words verbatim."""

    fate = Fate.REFUSED
    remedy = Remedy.CORRECT
    http_status = 400
    kind = "refused"


class NotFound(BrokerError):
    """The venue does not know the order that a modify, cancel or status call names."""

    fate = Fate.REFUSED
    remedy = Remedy.CORRECT
    http_status = 404
    kind = "not_found"


class OutcomeUnknown(BrokerError):
    """The request may have been acted upon: time-out, reset, half a body, 5xx, HTML, no order id.

    On a read it means only that nothing was learnt.
    """

    fate = Fate.UNKNOWN
    remedy = Remedy.ASK
    http_status = 504
    kind = "outcome_unknown"


class RateLimitedUnknown(OutcomeUnknown):
    """A rate-limit answer whose code is not documented to precede acceptance."""

    kind = "rate_limited_unknown"


class ProtocolError(BrokerError):
    """A read was answered in a shape never seen before."""

    fate = Fate.NONE
    remedy = Remedy.OPERATOR
    http_status = 502
    kind = "protocol_error"


class NotSupported(BrokerError):
    """The broker has no such capability."""

    fate = Fate.NOT_SENT
    remedy = Remedy.NOTHING
    http_status = 501
    kind = "not_supported"


ALL_ERRORS: tuple[type[BrokerError], ...] = (
    InvalidOrder,
    ConnectFailed,
    BrokerBusy,
    LimitsUnknown,
    CircuitOpen,
    RateLimited,
    SessionExpired,
    LoginFailed,
    Refused,
    NotFound,
    OutcomeUnknown,
    RateLimitedUnknown,
    ProtocolError,
    NotSupported,
)
