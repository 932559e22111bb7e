"""The words in which the services speak, for callers that may not import `broker` themselves.

HTTP code knows the services alone; what it has to name (sides, products, states, error classes)
it takes from here.
"""

from __future__ import annotations

from broker.base import Deadline, Priority
from broker.errors import (
    ALL_ERRORS,
    BrokerError,
    Fate,
    InvalidOrder,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    Refused,
)
from broker.models import (
    Candle,
    Depth,
    Exchange,
    Funds,
    InstrumentRef,
    Level,
    OrderState,
    OrderType,
    Product,
    Quote,
    Side,
    Validity,
)
from database.errors import DatabaseUnavailable

__all__ = [
    "ALL_ERRORS",
    "BrokerError",
    "Candle",
    "DatabaseUnavailable",
    "Deadline",
    "Depth",
    "Exchange",
    "Fate",
    "Funds",
    "InstrumentRef",
    "InvalidOrder",
    "Level",
    "NotFound",
    "NotSupported",
    "OrderState",
    "OrderType",
    "OutcomeUnknown",
    "Priority",
    "Product",
    "Quote",
    "Refused",
    "Side",
    "Validity",
]
