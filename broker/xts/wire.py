"""The wire's own names in one place: columns with their aliases and misspellings, and enum words.

Spellings are XTS's, wrong ones included (XTS reference §16, Q14-Q19): never correct them. The
tables have no defaults: what is not in them is for the codec to refuse or to report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from broker.models import (
    InstrumentKind,
    OptionType,
    OrderState,
    OrderType,
    Product,
    Side,
    Validity,
)

Row = Mapping[str, object]

# Columns whose name varies between servers (§7.2.6, §7.7, §13); the first is the usual one.
INSTRUMENT_ID: Final = ("ExchangeInstrumentID", "ExchangeInstrumentId")
AVERAGE_PRICE: Final = ("OrderAverageTradedPrice", "OrderAverageTradedPriceAPI")
GENERATED_AT: Final = ("OrderGeneratedDateTime", "OrderGeneratedDateTimeAPI")
UPDATED_AT: Final = ("LastUpdateDateTime", "LastUpdateDateTimeAPI", "ExchangeTransactTime")
TRADED_AT: Final = (
    "LastExecutionTransactTime",
    "LastExecutionTransactTimeAPI",
    "ExchangeTransactTime",
    "LastUpdateDateTime",
)
NET_QUANTITY: Final = ("Quantity", "NetQuantity", "NetPosition")
BUY_QUANTITY: Final = ("OpenBuyQuantity", "LongPosition")
SELL_QUANTITY: Final = ("OpenSellQuantity", "ShortPosition")
BUY_AVERAGE: Final = ("BuyAveragePrice", "ActualBuyAveragePrice")
SELL_AVERAGE: Final = ("SellAveragePrice", "ActualSellAveragePrice")
LAST_QUANTITY: Final = ("LastTradedQunatity", "LastTradedQuantity")  # sic, Q14
CANDLES: Final = ("dataReponse", "dataResponse")  # sic, §8.6

# §5.2. Rows spell sides and types in several cases: look up in lower case.
SIDES: Final[Mapping[str, Side]] = {
    "buy": Side.BUY,
    "sell": Side.SELL,
    "49": Side.BUY,
    "50": Side.SELL,
}
ORDER_TYPES: Final[Mapping[str, OrderType]] = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stoplimit": OrderType.STOP_LIMIT,
    "stopmarket": OrderType.STOP_MARKET,
}
ORDER_TYPE_WORDS: Final[Mapping[OrderType, str]] = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP_LIMIT: "STOPLIMIT",
    OrderType.STOP_MARKET: "STOPMARKET",
}
# Cover and bracket orders are intraday by their nature; both come from other terminals only.
PRODUCTS: Final[Mapping[str, Product]] = {
    "MIS": Product.MIS,
    "NRML": Product.NRML,
    "CNC": Product.CNC,
    "MTF": Product.MTF,
    "CO": Product.MIS,
    "BO": Product.MIS,
}
PRODUCT_WORDS: Final[Mapping[Product, str]] = {product: product.value for product in Product}
# Everything that outlives the day is shown as DAY: the day's book is what we speak of.
VALIDITIES: Final[Mapping[str, Validity]] = {
    "DAY": Validity.DAY,
    "IOC": Validity.IOC,
    "GTC": Validity.DAY,
    "GTD": Validity.DAY,
    "EOS": Validity.DAY,
    "COL": Validity.DAY,
    "GTDYS": Validity.DAY,
    "NONE": Validity.DAY,
}
VALIDITY_WORDS: Final[Mapping[Validity, str]] = {Validity.DAY: "DAY", Validity.IOC: "IOC"}

# §5.3, exact words. A state that is not here is told to the observer and counts as open.
STATES: Final[Mapping[str, OrderState]] = {
    "PendingNew": OrderState.PENDING,
    "New": OrderState.OPEN,
    "PartiallyFilled": OrderState.OPEN,
    "Filled": OrderState.FILLED,
    "PendingReplace": OrderState.PENDING,
    "Replaced": OrderState.OPEN,
    "PendingCancel": OrderState.PENDING,
    "Cancelled": OrderState.CANCELLED,
    "Rejected": OrderState.REJECTED,
}

# §5.4 instrumentType by number; widths of a master row by kind (§9).
KINDS: Final[Mapping[str, InstrumentKind]] = {
    "1": InstrumentKind.FUTURE,
    "2": InstrumentKind.OPTION,
    "4": InstrumentKind.SPREAD,
    "8": InstrumentKind.EQUITY,
    "16": InstrumentKind.SPOT,
    "32": InstrumentKind.OTHER,
    "64": InstrumentKind.DEBT,
    "128": InstrumentKind.OTHER,
    "256": InstrumentKind.OTHER,
    "512": InstrumentKind.FUND,
}
OPTION_TYPES: Final[Mapping[str, OptionType]] = {"3": OptionType.CE, "4": OptionType.PE}

TOUCHLINE: Final = 1501
DEPTH: Final = 1502
OPEN_INTEREST: Final = 1510


def first(row: Row, names: tuple[str, ...]) -> object:
    """The first of these columns that the row has and fills, else None."""
    for name in names:
        value = row.get(name)
        if value is not None and value != "":
            return value
    return None
