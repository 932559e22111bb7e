"""Which risk limits hold for an account: the settings `RISK_*`, and what was set for it alone.

A text that was stored for an account stands in the place of the setting: a value, or "off", which
lifts the limit for this account. Every process sees a change within a second; looking the limits
up costs two dictionary look-ups. Every change is in the audit trail, with the value before it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, time
from decimal import Decimal
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from broker.base import Clock
from broker.models import Exchange, Product
from database import audit, risk
from database.engine import Database
from services.accounts import Account
from services.errors import InvalidRequest
from services.flags import FlagService
from utils.config import Settings

OFF = "off"
_PREFIX = "risk_"
_VERSION = "version.risk"


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """The limits that hold for one account; None or an empty list: the rule is off.

    Money is rupees, quantities are units as orders have them. A field is a setting without its
    prefix: `max_order_value` is `RISK_MAX_ORDER_VALUE`.
    """

    max_order_quantity: int | None = None
    max_order_value: Decimal | None = None
    max_position_quantity: int | None = None
    max_position_percent: Decimal | None = None
    per_trade_percent: Decimal | None = None
    max_open_orders: int | None = None
    max_daily_loss: Decimal | None = None
    max_drawdown_percent: Decimal | None = None
    price_band_percent: Decimal | None = None
    max_orders_per_day: int | None = None
    allowed_exchanges: tuple[str, ...] = ()
    allowed_products: tuple[str, ...] = ()
    square_off_time: str | None = None

    def is_on(self, name: str) -> bool:
        """Whether a limit is set."""
        return getattr(self, name) not in (None, ())

    @property
    def square_off_at(self) -> time | None:
        """The time of day (IST) of the square-off warning."""
        return time.fromisoformat(self.square_off_time) if self.square_off_time else None


NAMES = tuple(item.name for item in fields(RiskLimits))
NO_LIMITS = RiskLimits()

_WORDS: dict[str, set[str]] = {
    "allowed_exchanges": {item.value for item in Exchange},
    "allowed_products": {item.value for item in Product},
}


def variable_of(name: str) -> str:
    """The setting that a limit is known by."""
    return f"{_PREFIX}{name}".upper()


def text_of(value: Any) -> str:
    """A limit's value as people type it; "off" for none."""
    if value is None or value == ():
        return OFF
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit of one account, for people: the setting, what was stored, and what holds."""

    name: str
    variable: str
    meaning: str
    setting: str
    stored: str
    effective: str


@dataclass(frozen=True, slots=True)
class AccountRisk:
    """All limits of one account, and who changed them last."""

    rows: list[LimitRow]
    changed_by: str
    changed_at: datetime | None


class RiskLimitService:
    """Reads and changes the limits of accounts."""

    def __init__(
        self, database: Database, settings: Settings, flags: FlagService, clock: Clock
    ) -> None:
        self._database = database
        self._flags = flags
        self._clock = clock
        self._settings = settings
        self._defaults = RiskLimits(**{
            name: getattr(settings, f"{_PREFIX}{name}") for name in NAMES
        })
        self._reading = threading.Lock()
        self._copy: tuple[str | None, dict[int, RiskLimits]] = (None, {})

    def of(self, account: Account) -> RiskLimits:
        """The limits that hold for an account. `StorageError` when nobody can say."""
        stamp = self._flags.get(_VERSION)
        known, limits = self._copy
        if known != stamp:
            limits = self._read(stamp)
        return limits.get(account.id, self._defaults)

    def table(self, account: Account) -> AccountRisk:
        """Every limit of an account, with where it comes from."""
        with self._database.read() as conn:
            stored = risk.all_limits(conn).get(account.id)
        texts = stored.limits if stored else {}
        holds = self._merged(texts)
        rows = [
            LimitRow(
                name, variable_of(name), self._field(name).description or "",
                text_of(getattr(self._defaults, name)), texts.get(name, ""),
                text_of(getattr(holds, name)),
            )
            for name in NAMES
        ]
        return AccountRisk(
            rows, stored.changed_by if stored else "", stored.changed_at if stored else None
        )

    def change(
        self,
        account: Account,
        texts: Mapping[str, str],
        who: str,
        *,
        address: str = "",
        request_id: str = "",
    ) -> dict[str, str]:
        """Store limits of an account: a value, "off", or "" for the setting's.

        Limits that are not named stay as they are. What changed, as "old → new" by variable.
        `InvalidRequest` names every fault by its limit, and nothing is stored then.
        """
        wanted = {name: text.strip() for name, text in texts.items()}
        faults = {name: self._fault(name, text) for name, text in wanted.items()}
        errors = {name: fault for name, fault in faults.items() if fault}
        if errors:
            raise InvalidRequest(
                "The limits were not changed: " + " ".join(
                    f"{variable_of(name)} {fault}." for name, fault in errors.items()
                ),
                errors={name: [fault] for name, fault in errors.items()},
            )
        with self._database.write() as conn:
            found = risk.all_limits(conn).get(account.id)
            before = found.limits if found else {}
            after = {name: text for name, text in {**before, **wanted}.items() if text}
            changed = {
                variable_of(name): f"{before.get(name) or 'setting'} → "
                f"{after.get(name) or 'setting'}"
                for name in NAMES if before.get(name) != after.get(name)
            }
            if not changed:
                return {}
            now = self._clock.now()
            risk.set_limits(conn, account.id, after, at=now, by=who)
            audit.record(
                conn, who, "risk limits changed", account.label, at=now, detail=changed,
                address=address, request_id=request_id,
            )
        self._flags.bump(_VERSION, who)
        return changed

    def _read(self, stamp: str) -> dict[int, RiskLimits]:
        with self._reading:
            known, limits = self._copy
            if known == stamp:
                return limits
            with self._database.read() as conn:
                found = risk.all_limits(conn)
            limits = {key: self._merged(row.limits) for key, row in found.items()}
            self._copy = (stamp, limits)
            return limits

    def _merged(self, texts: Mapping[str, str]) -> RiskLimits:
        values = {name: getattr(self._defaults, name) for name in NAMES}
        values.update({
            name: self._parsed(name, text) for name, text in texts.items() if name in values
        })
        return RiskLimits(**values)

    def _fault(self, name: str, text: str) -> str:
        """What is wrong with a text that is to be stored; "" when it is good."""
        if name not in NAMES:
            return "is no risk limit"
        if not text:
            return ""
        try:
            value = self._parsed(name, text)
        except ValidationError as error:
            return error.errors()[0]["msg"].removeprefix("Value error, ").lower()
        strange = [word for word in value or () if word not in _WORDS[name]] if (
            name in _WORDS
        ) else []
        return f"does not know {', '.join(strange)}" if strange else ""

    def _parsed(self, name: str, text: str) -> Any:
        """The value of a text, by the very rules of the setting."""
        if text.lower() == OFF:
            return getattr(NO_LIMITS, name)
        return _adapter(self._field(name)).validate_python(text)

    def _field(self, name: str) -> Any:
        return type(self._settings).model_fields[f"{_PREFIX}{name}"]


def _adapter(field: Any) -> TypeAdapter[Any]:
    """Validates as the settings class does."""
    if not field.metadata:
        return TypeAdapter(field.annotation)
    return TypeAdapter(Annotated[field.annotation, *field.metadata])
