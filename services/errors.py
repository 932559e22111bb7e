"""What the services refuse by themselves, on the same two axes as the broker's errors.

A broker's own errors (`broker.errors`) pass through unchanged. Both families offer `message`,
`code`, `http_status`, `kind`, `fate`, `retry_after` and `reference`, so that whoever answers a
client treats them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker.errors import Fate


class ServiceError(Exception):
    """Root of the refusals that start here.

    `message` is a sentence that stands alone and may be shown to a client. `errors` says per field
    what to change; `field` is the short form for one field. `code` defaults to the class's `kind`.
    `reference` names the order concerned, or is empty; `retry_after` is in seconds.
    """

    http_status: int = 500
    kind: str = "internal_error"
    fate: Fate = Fate.NOT_SENT

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        errors: Mapping[str, Sequence[str]] | None = None,
        code: str = "",
        reference: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.kind
        self.reference = reference
        self.retry_after = retry_after
        self.errors: dict[str, list[str]] = {
            name: list(texts) for name, texts in (errors or {}).items()
        }
        if field and field not in self.errors:
            self.errors[field] = [message]


class InvalidRequest(ServiceError):
    """The request cannot be carried out as it stands; nothing was sent. Correct it."""

    http_status = 400
    kind = "invalid_request"


class UnknownSymbol(InvalidRequest):
    """No such symbol in the broker's master contract."""

    kind = "unknown_symbol"


class Forbidden(ServiceError):
    """The principal has no right to this: scope of the key, or somebody else's account."""

    http_status = 403
    kind = "forbidden"


class NotFoundHere(ServiceError):
    """What the request names does not exist for this principal."""

    http_status = 404
    kind = "not_found"


class Conflict(ServiceError):
    """The request contradicts the present state."""

    http_status = 409
    kind = "conflict"


class DuplicateInFlight(Conflict):
    """A request with the same idempotency key is being worked on; `reference` names its order."""

    kind = "duplicate_in_flight"


class IdempotencyMismatch(ServiceError):
    """The idempotency key was used before with another request."""

    http_status = 422
    kind = "idempotency_mismatch"


class BrokerDisabled(Conflict):
    """The broker, or trading as a whole, is switched off for entries."""

    kind = "broker_disabled"


class RiskLimit(ServiceError):
    """A risk rule of the account refuses the order; `code` is the rule. Nothing was sent."""

    http_status = 400
    kind = "risk_limit"


class Unavailable(ServiceError):
    """Something that the gateway itself needs (journal, lock) is not there; nothing was sent."""

    http_status = 503
    kind = "unavailable"


class SharedAway(Unavailable):
    """What all hosts count together (Redis) is away: no new orders, only the way out."""

    kind = "shared_storage_away"


class RiskUnreadable(Unavailable):
    """A risk rule could not read what it needs, which is a refusal. Nothing was sent."""

    kind = "risk_unreadable"


class NeverArrived(ServiceError):
    """Complete reads of the book over some time proved that the venue never had this order.

    The fate is REFUSED and not NOT_SENT on purpose: its idempotency key stays used up.
    """

    http_status = 503
    kind = "never_arrived"
    fate = Fate.REFUSED


class QueueFull(ServiceError):
    """Too many requests wait already; come back after `retry_after` seconds. Nothing was sent."""

    http_status = 429
    kind = "queue_full"


ALL_SERVICE_ERRORS: tuple[type[ServiceError], ...] = (
    InvalidRequest,
    UnknownSymbol,
    Forbidden,
    NotFoundHere,
    Conflict,
    DuplicateInFlight,
    IdempotencyMismatch,
    BrokerDisabled,
    RiskLimit,
    Unavailable,
    SharedAway,
    RiskUnreadable,
    NeverArrived,
    QueueFull,
)
