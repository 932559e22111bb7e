"""A row that says the same is the same order; any change of it is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ProtocolError
from broker.models import Order
from broker.xts import codec
from broker.xts.book_rows import BookRows
from broker.xts.profile import INDEX_SEGMENTS, usual_segments
from broker.xts.segments import Segments
from tests.support.xts import ORDER_ROW

SEGMENTS = Segments(usual_segments(), INDEX_SEGMENTS)

_CHANGES = st.fixed_dictionaries({}, optional={
    "OrderStatus": st.sampled_from(["New", "Filled", "Cancelled", "Rejected"]),
    "OrderQuantity": st.integers(1, 3),
    "CumulativeQuantity": st.sampled_from([0, 1, "1"]),
    "OrderUniqueIdentifier": st.sampled_from(["", "A", "B"]),
    "CancelRejectReason": st.sampled_from(["", "no funds"]),
})  # fmt: skip
_BOOK = st.lists(st.tuples(st.integers(1, 4), _CHANGES), max_size=5)


def _rows(book: list[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [{**ORDER_ROW, "AppOrderID": number, **changes} for number, changes in book]


def _orders(told: list[str] | None = None) -> BookRows[Order]:
    """An order book's rows; what is strange about them goes to `told`."""
    seen = [] if told is None else told
    return BookRows(
        lambda row: codec.order_from_row(row, SEGMENTS, lambda what, detail: seen.append(what))
    )


def _read(kept: BookRows[Order], rows: list[dict[str, Any]]) -> list[Order]:
    """The orders of a book that comes over the wire."""
    body = kept.parse(json.dumps({"type": "success", "result": rows}).encode())
    return kept.read(body["result"])


@given(books=st.lists(_BOOK, max_size=4))
def test_every_book_is_read_as_if_it_were_the_first(
    books: list[list[tuple[int, dict[str, Any]]]],
) -> None:
    kept = _orders()
    for book in books:
        assert _read(kept, _rows(book)) == [
            codec.order_from_row(row, SEGMENTS, lambda what, detail: None) for row in _rows(book)
        ]


def test_an_unchanged_row_is_the_order_of_the_last_read_and_its_oddity_is_told_once() -> None:
    told: list[str] = []
    kept = _orders(told)
    odd = {**ORDER_ROW, "OrderStatus": "Dreaming"}
    (first,) = _read(kept, [odd])
    (again,) = _read(kept, [odd])
    assert again is first
    assert told == ["unknown_order_state"]
    (changed,) = _read(kept, [{**odd, "CancelRejectReason": "woken"}])
    assert changed.reason == "woken"
    assert told == ["unknown_order_state"] * 2


def test_a_row_that_cannot_be_read_fails_every_read() -> None:
    kept = _orders()
    _read(kept, [ORDER_ROW])
    for _ in range(2):
        with pytest.raises(ProtocolError):
            _read(kept, [ORDER_ROW, {**ORDER_ROW, "AppOrderID": [1]}])


def test_rows_that_did_not_come_over_the_wire_are_read_each_time() -> None:
    kept = _orders()
    for state in ("New", "Filled", "Cancelled"):
        (order,) = kept.read([{**ORDER_ROW, "OrderStatus": state}])
        assert order.state_text == state
