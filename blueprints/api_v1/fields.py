"""Field types of the request models, and the texts that tell a caller what to correct.

Numbers may come as JSON numbers or as numeric strings, because the official client sends text.
They become `Decimal` or `int` here, with bounds, so that nothing further in sees "NaN", infinity,
a bool or a number of a thousand digits. The texts follow the REST reference §5.2.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

MISSING = "Missing data for required field."
NULL = "Field may not be null."
UNKNOWN = "Unknown field."
NOT_A_STRING = "Not a valid string."
NOT_A_NUMBER = "Not a valid number."
NOT_AN_INTEGER = "Not a valid integer."
NOT_A_BOOLEAN = "Not a valid boolean."
NOT_A_LIST = "Not a valid list."
NOT_AN_OBJECT = "Not a valid object."
TOO_LARGE = "Number is too large."
FORBIDDEN_CHARACTERS = "Contains characters that are not allowed."

LARGEST = Decimal(10**12)
_PLACES = Decimal("1e-8")
_NUMERIC = re.compile(r"-?(?:[0-9]{1,15}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})")
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off", ""})


def _fault(text: str) -> PydanticCustomError:
    return PydanticCustomError("field", "{text}", {"text": text})


def decimal_of(value: Any) -> Decimal:
    """A finite number from a JSON number or numeric text, to eight decimals, below 10^12.

    The rounding takes the noise of binary floats away (300.29999999999995 is 300.3).
    """
    kind = type(value)
    if kind is str:
        text = value.strip(" ")
        if not _NUMERIC.fullmatch(text):
            raise _fault(NOT_A_NUMBER)
        number = Decimal(text)
    elif kind is int:
        if not -LARGEST < value < LARGEST:
            raise _fault(TOO_LARGE)
        return Decimal(value)
    elif kind is float:
        if not math.isfinite(value):
            raise _fault(NOT_A_NUMBER)
        number = Decimal(repr(value))
    elif value is None:
        raise _fault(NULL)
    else:
        raise _fault(NOT_A_NUMBER)
    if not -LARGEST < number < LARGEST:
        raise _fault(TOO_LARGE)
    exponent = number.as_tuple().exponent
    return number.quantize(_PLACES) if isinstance(exponent, int) and exponent < -8 else number


def whole_of(value: Any) -> int | None:
    """An integer from a number that has no fraction ("10", 10, 10.0); None when it has one."""
    if type(value) is int and -LARGEST < value < LARGEST:
        return value
    number = decimal_of(value)
    return int(number) if number == number.to_integral_value() else None


def _units(value: Any) -> int:
    whole = whole_of(value)
    if whole is None:
        shown = f"{decimal_of(value).normalize():f}"
        raise _fault(f"Fractional quantity ({shown}) is not allowed for non-crypto exchanges.")
    return whole


def _quantity(value: Any) -> int:
    whole = _units(value)
    if whole <= 0:
        raise _fault("Quantity must be a positive number.")
    return whole


def _quantity_or_zero(value: Any) -> int:
    whole = _units(value)
    if whole < 0:
        raise _fault("Quantity must be a non-negative number.")
    return whole


def _total_quantity(value: Any) -> int:
    whole = _units(value)
    if whole <= 0:
        raise _fault("Total quantity must be a positive number.")
    return whole


def _split_size(value: Any) -> int:
    whole = whole_of(value)
    if whole is None:
        raise _fault(NOT_AN_INTEGER)
    if whole <= 0:
        raise _fault("Split size must be a positive integer.")
    return whole


def _price(value: Any) -> Decimal:
    number = decimal_of(value)
    if number < 0:
        raise _fault("Price must be a non-negative number.")
    return number


def _trigger_price(value: Any) -> Decimal:
    number = decimal_of(value)
    if number < 0:
        raise _fault("Trigger price must be a non-negative number.")
    return number


def _disclosed(value: Any) -> int:
    whole = whole_of(value)
    if whole is None or whole < 0:
        raise _fault("Disclosed quantity must be a non-negative integer.")
    return whole


def _optional_number(value: Any) -> Decimal | None:
    return None if value is None else decimal_of(value)


def _flag(value: Any) -> bool:
    """A bool, also as text, because the official client sends extra arguments as text."""
    if type(value) is bool:
        return value
    if type(value) is str:
        word = value.strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
    raise _fault(NOT_A_BOOLEAN)


def _without_pattern(schema: dict[str, Any]) -> None:
    """`openapi.json` says it in words: not every reader knows the classes of our pattern."""
    schema.pop("pattern", None)
    schema["description"] = "without control characters"


def _text(shortest: int, longest: int) -> Any:
    """Text without control, format and unassigned characters."""
    return Field(
        strict=True,
        min_length=shortest,
        max_length=longest,
        pattern=r"^[^\p{C}\p{Zl}\p{Zp}]*$",
        json_schema_extra=_without_pattern,
    )


Key = Annotated[str, _text(1, 256)]
Symbol = Annotated[str, _text(1, 64)]
Strategy = Annotated[str, _text(0, 128)]
StrategyName = Annotated[str, _text(1, 128)]
ParameterName = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")
]
ParameterValue = Annotated[str, _text(0, 1000)]
Label = Annotated[str, _text(1, 64)]
OrderId = Annotated[str, _text(1, 64)]
Search = Annotated[str, _text(1, 64)]
ClientOrderId = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:-]*$")
]


def _documented(kind: str, about: str, **bounds: Any) -> WithJsonSchema:
    """How `openapi.json` tells a field that takes a JSON value of `kind`, or the same as text."""
    pattern = r"^-?[0-9]{1,12}$" if kind == "integer" else r"^-?[0-9]{1,12}([.][0-9]{1,8})?$"
    text: dict[str, Any] = {"type": "string", "pattern": pattern}
    if bounds.get("minimum", -1) >= 0:
        text["pattern"] = pattern.replace("-?", "")
    return WithJsonSchema({"description": about, "anyOf": [{"type": kind, **bounds}, text]})


_MOST = 10**9

Quantity = Annotated[
    int,
    BeforeValidator(_quantity),
    _documented("integer", "units, more than 0", minimum=1, maximum=_MOST),
]
QuantityOrZero = Annotated[
    int,
    BeforeValidator(_quantity_or_zero),
    _documented("integer", "units, 0 or more", minimum=0, maximum=_MOST),
]
TotalQuantity = Annotated[
    int,
    BeforeValidator(_total_quantity),
    _documented("integer", "units, more than 0", minimum=1, maximum=_MOST),
]
SplitSize = Annotated[
    int,
    BeforeValidator(_split_size),
    _documented("integer", "units of one child", minimum=1, maximum=_MOST),
]
SignedUnits = Annotated[
    int,
    BeforeValidator(_units),
    _documented("integer", "signed units", minimum=-_MOST, maximum=_MOST),
]
Price = Annotated[
    Decimal,
    BeforeValidator(_price),
    _documented("number", "rupees, 0 or more", minimum=0, maximum=_MOST),
]
TriggerPrice = Annotated[
    Decimal,
    BeforeValidator(_trigger_price),
    _documented("number", "rupees, 0 or more", minimum=0, maximum=_MOST),
]
Disclosed = Annotated[
    int,
    BeforeValidator(_disclosed),
    _documented("integer", "units shown in the market", minimum=0, maximum=_MOST),
]
AnyNumber = Annotated[
    Decimal | None,
    BeforeValidator(_optional_number),
    _documented("number", "informational", minimum=-_MOST, maximum=_MOST),
]
Flag = Annotated[
    bool,
    BeforeValidator(_flag),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "enum": ["true", "false"]}]}),
]

ExchangeCode = Literal[
    "NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX", "NCDEX", "NCO",
    "NSE_INDEX", "BSE_INDEX", "MCX_INDEX",
]  # fmt: skip
DerivativeCode = Literal["NFO", "BFO", "MCX", "CDS", "NCO", "BCD", "NCDEX"]
Action = Literal["BUY", "SELL", "buy", "sell"]
PriceType = Literal["MARKET", "LIMIT", "SL", "SL-M"]
ProductCode = Literal["MIS", "NRML", "CNC"]

_TEXTS = {
    "missing": MISSING,
    "extra_forbidden": UNKNOWN,
    "string_type": NOT_A_STRING,
    "string_unicode": NOT_A_STRING,
    "string_pattern_mismatch": FORBIDDEN_CHARACTERS,
    "list_type": NOT_A_LIST,
    "model_type": NOT_AN_OBJECT,
    "model_attributes_type": NOT_AN_OBJECT,
    "dict_type": NOT_AN_OBJECT,
}


def text_of(fault: ErrorDetails) -> str:
    """What to tell the caller about one fault that pydantic found; never the value itself."""
    kind = fault["type"]
    if kind == "field":
        return fault["msg"]
    if kind != "missing" and fault["input"] is None:
        return NULL
    if (known := _TEXTS.get(kind)) is not None:
        return known
    context = fault.get("ctx", {})
    if kind == "literal_error":
        expected = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
        return f"Must be one of: {expected}."
    if kind in ("string_too_short", "too_short"):
        return f"Shorter than minimum length {context.get('min_length')}."
    if kind in ("string_too_long", "too_long"):
        return f"Longer than maximum length {context.get('max_length')}."
    return "Invalid value."


def faults_by_field(faults: list[ErrorDetails], most: int = 20) -> dict[str, list[str]]:
    """`{"orders.0.quantity": ["Not a valid number."]}`, at most `most` fields, names cut short."""
    found: dict[str, list[str]] = {}
    for fault in faults:
        name = ".".join(str(part) for part in fault["loc"])[:96] or "body"
        if name not in found and len(found) >= most:
            break
        text = text_of(fault)
        if text not in found.setdefault(name, []):
            found[name].append(text)
    return found
