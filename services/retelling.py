"""Tells an outcome from the journal, exactly as it would have been told the first time.

Used when a client repeats a request under the same idempotency key, and when it asks for an order
by its reference. Nothing is ever sent from here; an outcome that is still open is looked up.
"""

from __future__ import annotations

from broker.base import Deadline
from broker.errors import BrokerError
from database.journal import Intent, IntentState
from services.accounts import Account
from services.dispatch import refusal, unknown
from services.errors import NeverArrived, ServiceError, Unavailable
from services.order_models import Placed
from services.recording import Recorder
from services.settling import Settler


class Reteller:
    """Answers for intents that the journal holds already."""

    def __init__(self, recorder: Recorder, settler: Settler) -> None:
        self._recorder = recorder
        self._settler = settler

    def told(
        self, account: Account, reference: str | None, deadline: Deadline
    ) -> Placed | None:
        """The outcome under a reference that was fixed beforehand; None when it is a new one."""
        if reference is None:
            return None
        known = self._recorder.find(reference)
        return self.retell(account, known, deadline) if known else None

    def retell(self, account: Account, intent: Intent, deadline: Deadline) -> Placed:
        """The outcome of `intent`, as a result or as the error that it was.

        One that was received and never sent is given up here, for whoever received it is gone.
        """
        if intent.state is IntentState.ACCEPTED and intent.broker_order_id:
            return Placed(intent.reference, intent.broker_order_id, replayed=True)
        if intent.state in (IntentState.SENDING, IntentState.UNKNOWN):
            return self._look_again(account, intent, deadline)
        if intent.state is IntentState.RECEIVED:
            self._recorder.resume(intent).not_sent("abandoned", "The gateway stopped before it.")
        raise _named(_error_of(intent), intent)

    def _look_again(self, account: Account, intent: Intent, deadline: Deadline) -> Placed:
        verdict = self._settler.look_up(account, intent, deadline)
        if verdict is None:
            raise unknown(intent, intent.message or "The broker's answer was lost.")
        self._recorder.resume(intent).settle(
            verdict.state, "seen in the book", order_id=verdict.order_id, message=verdict.message
        )
        if verdict.state is IntentState.REJECTED:
            raise _named(refusal(verdict.message), intent)
        return Placed(intent.reference, verdict.order_id, replayed=True)


def _error_of(intent: Intent) -> BrokerError | ServiceError:
    if intent.state is IntentState.REJECTED:
        return refusal(intent.message)
    if intent.state is IntentState.ABSENT:
        return NeverArrived(
            "This request never arrived at the broker: complete reads of its book proved it. "
            "Send it again under a new key if it is still wanted."
        )
    return Unavailable(f"This request was not sent. {intent.message}".rstrip())


def _named(error: BrokerError | ServiceError, intent: Intent) -> BrokerError | ServiceError:
    error.reference = intent.reference
    return error
