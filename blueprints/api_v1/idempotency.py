"""One key, one answer: repeats of an order call get what the first one got.

The key is the header `Idempotency-Key`, else the field `client_order_id` (the official client can
set no headers). What makes two calls the same is the path and the validated fields, without the
API key: "10" and 10 are one quantity.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from blueprints.api_v1.endpoint import Answer, Call
from blueprints.api_v1.errors import invalid_fields, refusal
from blueprints.http import Body
from services.order_models import Provenance

_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


def provenance(call: Call[Any], reference: str | None) -> Provenance:
    """Whence the order comes, for the journal."""
    return Provenance(
        request_id=call.request_id,
        client_order_id=call.body.client_order_id,
        reference=reference,
    )


def key_of(call: Call[Any]) -> str | None:
    """The idempotency key of a call; None when it has none."""
    header = call.headers.get(_HEADER)
    if header is None:
        key: str | None = call.body.client_order_id
        return key
    if not _KEY.fullmatch(header):
        raise invalid_fields(
            {_HEADER: ["Must be 1 to 128 visible ASCII characters without spaces."]}
        )
    return header


def fingerprint_of(call: Call[Any]) -> str:
    """What makes a repeat of the call the same call: SHA-256 over its name and fields."""
    fields = call.body.model_dump(mode="json", exclude={"apikey", "client_order_id", "account"})
    text = json.dumps([type(call.body).__name__, fields], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def once(
    call: Call[Any],
    produce: Callable[[str | None], Body | Answer],
    *,
    way_out: bool = False,
    repeatable: bool = False,
) -> Body | Answer:
    """Run `produce`, or give the answer that the first call with this key got.

    `produce` takes the order's reference where the key has fixed one. An error that proves
    that nothing was sent is not kept: the caller corrects the request and uses the same key again.
    `way_out`: the call cancels or closes; `repeatable`: it cancels, and goes on without its key
    where keys cannot be kept.
    """
    key = key_of(call)
    if key is None:
        return produce(None)

    def answer(reference: str) -> tuple[int, dict[str, Any]]:
        outcome = produce(reference or None)
        if isinstance(outcome, Answer):
            return outcome.status, dict(outcome.body)
        return 200, dict(outcome)

    def describe(error: Exception) -> tuple[int, dict[str, Any]]:
        status, body, _ = refusal(error, call.request_id)
        return status, dict(body)

    found = call.gateway.idempotency.run(
        call.principal, call.account, key, fingerprint_of(call), answer, describe,
        way_out=way_out,
        repeatable=repeatable,
    )
    headers = {"Idempotency-Replayed": "true"} if found.replayed else {}
    return Answer(found.body, found.status, headers)
