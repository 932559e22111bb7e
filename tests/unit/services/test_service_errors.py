"""The refusals of the services: fields, codes, statuses."""

from __future__ import annotations

from broker.errors import Fate
from services.errors import (
    ALL_SERVICE_ERRORS,
    InvalidRequest,
    NeverArrived,
    QueueFull,
    ServiceError,
)


def test_a_field_becomes_an_entry_of_errors() -> None:
    error = InvalidRequest("Quantity must be positive.", field="quantity")
    assert error.errors == {"quantity": ["Quantity must be positive."]}
    assert error.code == "invalid_request"
    assert str(error) == error.message


def test_explicit_errors_win_over_the_short_form() -> None:
    error = InvalidRequest("Two faults.", field="price", errors={"price": ("a", "b")}, code="x")
    assert error.errors == {"price": ["a", "b"]}
    assert error.code == "x"


def test_what_helps_travels_with_the_error() -> None:
    assert QueueFull("Full.", retry_after=2.5).retry_after == 2.5
    assert ServiceError("Broken.", reference="R1").reference == "R1"


def test_each_class_says_status_and_kind_and_that_nothing_was_sent() -> None:
    kinds = [cls.kind for cls in ALL_SERVICE_ERRORS]
    assert len(set(kinds)) == len(kinds)
    for cls in ALL_SERVICE_ERRORS:
        assert 400 <= cls.http_status < 600
        assert cls.fate is (Fate.REFUSED if cls is NeverArrived else Fate.NOT_SENT)
