"""Errors of the services and of brokers, as HTTP answers.

Status and word come from the error's class (docs/errors.md); nothing is decided by its text. An
error of no known class is ours: it is logged with its trace, and the caller gets the request id.
"""

from __future__ import annotations

import logging
from typing import Any

from pydantic import ValidationError

from blueprints.api_v1.fields import faults_by_field
from blueprints.http import problem
from blueprints.limits import retry_after_header
from services.errors import ServiceError
from services.vocabulary import BrokerError, DatabaseUnavailable, Fate, InvalidOrder

log = logging.getLogger(__name__)

Refusal = tuple[int, dict[str, Any], dict[str, str]]


class Rejected(Exception):
    """A refusal that HTTP itself decides: status, word, sentence, and perhaps faults by field."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        errors: dict[str, list[str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors
        self.headers = headers or {}


def invalid_fields(errors: dict[str, list[str]]) -> Rejected:
    """400 with every fault by field, and all of them in one sentence each."""
    listed = " ".join(f"{name}: {' '.join(texts)}" for name, texts in errors.items())
    return Rejected(400, "invalid_request", f"The request is not valid. {listed}", errors=errors)


def malformed(fault: ValidationError) -> Rejected:
    """What pydantic found, as a 400."""
    faults = fault.errors(include_url=False, include_input=True)
    if faults[0]["type"] == "json_invalid":
        reason = str(faults[0].get("ctx", {}).get("error", ""))
        return Rejected(400, "invalid_json", f"The body is not valid JSON: {reason}.")
    if not faults[0]["loc"] and faults[0]["type"] == "model_type":
        return Rejected(400, "invalid_json", "The body must be a JSON object.")
    return invalid_fields(faults_by_field(faults))


def refusal(error: Exception, request_id: str) -> Refusal:
    """Status, body and headers that answer `error`."""
    if isinstance(error, Rejected):
        body = problem(error.code, error.message, errors=error.errors)
        return error.status, body, error.headers
    if isinstance(error, ServiceError):
        return (
            error.http_status,
            problem(error.code, error.message, errors=error.errors, reference=error.reference),
            _retry(error.retry_after),
        )
    if isinstance(error, BrokerError):
        return _broker_refusal(error)
    if isinstance(error, DatabaseUnavailable):
        log.error("The storage failed a request", exc_info=error)
        return (
            503,
            problem("storage_unavailable", "The storage is not available. Try again later."),
            {"Retry-After": "1"},
        )
    log.error("A request failed for a reason of our own", exc_info=error)
    return (
        500,
        problem(
            "internal_error",
            f"Something went wrong on our side. Ask with the request id {request_id}; for an "
            "order, look into the order book before sending it again.",
            request_id=request_id,
        ),
        {},
    )


def _broker_refusal(error: BrokerError) -> Refusal:
    """A broker's error: its class decides the status, its words are passed on."""
    errors = {}
    if isinstance(error, InvalidOrder) and error.field:
        errors[error.field] = [error.message]
    outcome = "unknown" if error.fate is Fate.UNKNOWN and error.reference else ""
    return (
        error.http_status,
        problem(
            error.kind,
            error.message,
            broker_code=error.code,
            errors=errors,
            order_status=outcome,
            reference=error.reference,
        ),
        _retry(error.retry_after),
    )


def _retry(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": retry_after_header(seconds)}
