"""How answers are written: the same JSON whatever kind of text or number a body holds."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprints.http import encode


class Word(StrEnum):
    ONE = "one"


class Marked(str):
    """Text of a library."""


_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="abc"), inner),
    max_leaves=20,
)


@given(value=_VALUES)
def test_an_answer_says_what_the_body_says(value: object) -> None:
    assert json.loads(encode({"data": value})) == {"data": value}


def test_text_and_numbers_of_other_kinds_are_plain() -> None:
    written = encode({"a": Word.ONE, "b": Marked("x"), "c": Decimal("12.50"), "d": (1, 2)})
    assert written == b'{"a":"one","b":"x","c":12.50,"d":[1,2]}'


def test_half_a_pair_of_surrogates_and_no_number_do_not_break_an_answer() -> None:
    assert encode({"a": "x\ud800"}) == b'{"a":"x?"}'
    assert encode({"a": float("nan")}) == b'{"a":null}'


def test_what_json_cannot_say_is_an_error_of_ours() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        encode({"a": object()})
