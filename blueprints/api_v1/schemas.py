"""Request models of every route, in OpenAlgo's words (REST reference §8 to §12, design §11).

Unknown fields are refused. `apikey` is optional here because it may also come in the `X-API-KEY`
header; that one of them is there is checked by the request pipeline.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from blueprints.api_v1.fields import (
    NOT_A_STRING,
    NULL,
    Action,
    AnyNumber,
    ClientOrderId,
    DerivativeCode,
    Disclosed,
    ExchangeCode,
    Flag,
    Key,
    Label,
    OrderId,
    ParameterName,
    ParameterValue,
    Price,
    PriceType,
    ProductCode,
    Quantity,
    QuantityOrZero,
    Search,
    SignedUnits,
    SplitSize,
    Strategy,
    StrategyName,
    Symbol,
    TotalQuantity,
    TriggerPrice,
)

ZERO = Decimal(0)


class Request(BaseModel):
    """What every request may carry: the key, and the account it is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    apikey: Key | None = None


class AccountRequest(Request):
    """A request about one account; the key's default account when none is named."""

    account: Label | None = None


class PlacedRequest(AccountRequest):
    """A request that changes something at the broker."""

    strategy: Strategy
    client_order_id: ClientOrderId | None = None


class _Terms(BaseModel):
    """The terms of an order, shared by single orders and basket rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exchange: ExchangeCode
    symbol: Symbol
    action: Action
    pricetype: PriceType = "MARKET"
    product: ProductCode = "MIS"
    price: Price = ZERO
    trigger_price: TriggerPrice = ZERO
    disclosed_quantity: Disclosed = 0


class PlaceOrder(PlacedRequest, _Terms):
    """REST reference §8.1; `auto_slice` splits what exceeds the exchange's freeze quantity."""

    quantity: Quantity
    underlying_ltp: AnyNumber = None
    auto_slice: Flag = False


class SmartOrder(PlacedRequest, _Terms):
    """REST reference §8.2: bring the net position to `position_size`; `auto_slice` as above."""

    quantity: QuantityOrZero
    position_size: SignedUnits
    auto_slice: Flag = False


class SplitOrder(PlacedRequest, _Terms):
    """REST reference §8.8."""

    quantity: TotalQuantity
    splitsize: SplitSize


class BasketRow(_Terms):
    """One order of a basket; `auto_slice` as for single orders."""

    quantity: Quantity
    auto_slice: Flag = False


class BasketOrder(PlacedRequest):
    """REST reference §8.7; at most 100 orders."""

    orders: Annotated[list[BasketRow], Field(max_length=100)]


class ModifyOrder(PlacedRequest):
    """REST reference §8.3: every field is required."""

    exchange: ExchangeCode
    symbol: Symbol
    orderid: OrderId
    action: Action
    product: ProductCode
    pricetype: PriceType
    price: Price
    quantity: Quantity
    disclosed_quantity: Disclosed
    trigger_price: TriggerPrice


class CancelOrder(PlacedRequest):
    """REST reference §8.4."""

    orderid: OrderId


class OrderStatus(AccountRequest):
    """REST reference §9.1."""

    strategy: Strategy
    orderid: OrderId


class OpenPosition(AccountRequest):
    """REST reference §9.2."""

    strategy: Strategy
    symbol: Symbol
    exchange: ExchangeCode
    product: ProductCode


class SymbolRequest(AccountRequest):
    """One instrument (`quotes`, `depth`, `symbol`)."""

    symbol: Symbol
    exchange: ExchangeCode


class Pair(BaseModel):
    """One instrument of a list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbol: Symbol
    exchange: ExchangeCode


class MultiQuotes(AccountRequest):
    """REST reference §11.2; at most 500 instruments."""

    symbols: Annotated[list[Pair], Field(min_length=1, max_length=500)]


def _date(value: Any) -> date:
    """`YYYY-MM-DD` and nothing else."""
    if value is None:
        raise PydanticCustomError("field", NULL)
    if not isinstance(value, str):
        raise PydanticCustomError("field", NOT_A_STRING)
    try:
        if len(value) != 10:
            raise ValueError(value)
        return date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("field", "Not a valid date: use YYYY-MM-DD.") from None


Day = Annotated[date, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]
Interval = Literal[
    "1s", "5s", "10s", "15s", "30s", "45s", "1m", "2m", "3m", "5m", "10m", "15m", "20m", "30m",
    "1h", "2h", "3h", "4h", "D", "W", "M", "Q", "Y",
]  # fmt: skip


class History(SymbolRequest):
    """REST reference §11.4; `source` "db" is not kept here."""

    interval: Interval
    start_date: Day
    end_date: Day
    source: Literal["api", "db"] = "api"


class SearchRequest(AccountRequest):
    """REST reference §12."""

    query: Search
    exchange: ExchangeCode | None = None


class ExpiryRequest(AccountRequest):
    """REST reference §12."""

    symbol: Symbol
    exchange: DerivativeCode
    instrumenttype: Literal["futures", "options"]


class InstrumentsQuery(AccountRequest):
    """Query of `GET /instruments`; every exchange when none is named."""

    exchange: ExchangeCode | None = None
    format: Literal["json", "csv"] = "json"


class BrokersQuery(Request):
    """Query of `GET /brokers`; `all` adds the disabled ones."""

    all: Flag = False


class MasterContractRequest(Request):
    """Body of `POST /master_contract/<broker>`."""

    wait: Flag = False
    force: Flag = False


class KillSwitchRequest(Request):
    """Body of `POST /killswitch`; `square_off` goes with the state "on"."""

    state: Literal["on", "off"]
    square_off: Flag = False


class EmptyQuery(Request):
    """A query that may hold the key and nothing else."""


class StrategyQuery(Request):
    """Whose parameters are asked for."""

    strategy: StrategyName


class StrategyParameters(Request):
    """Parameters to set, as texts, and names of others to remove."""

    strategy: StrategyName
    parameters: Annotated[dict[ParameterName, ParameterValue], Field(max_length=100)]
    remove: Annotated[list[ParameterName], Field(max_length=100)] = []
