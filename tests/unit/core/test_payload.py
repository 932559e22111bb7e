"""What an answer says does not depend on the parser that could read it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import payload

ROW = {"id": 1, "price": 12.05, "text": "é\\n\u2028", "none": None, "deep": [{"a": [1, [2.5]]}, []]}

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def _by_the_standard_library(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_constant=str)


@given(value=_VALUES, ascii_only=st.booleans())
def test_an_answer_says_what_json_says(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    raw = text.encode("utf-8", "surrogatepass")
    assert payload.decode(raw) == _by_the_standard_library(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_book_is_read_in_the_encodings_that_venues_send(encoding: str) -> None:
    text = json.dumps({"type": "success", "result": [ROW] * 50}, ensure_ascii=False)
    assert payload.decode(text.encode(encoding)) == _by_the_standard_library(text)


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        (b"[245.10, 1E3, -0.0]", [Decimal("245.10"), Decimal("1E+3"), Decimal("-0.0")]),
        (b"[0.1000000000000000055]", [Decimal("0.1000000000000000055")]),
        (b"[12345678901234567890123]", [12345678901234567890123]),
        (b"[NaN, Infinity, -Infinity]", ["NaN", "Infinity", "-Infinity"]),
        (b'["\\ud800"]', ["\ud800"]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_numbers_stay_exact_and_odd_words_are_read(raw: bytes, meant: object) -> None:
    assert repr(payload.decode(raw)) == repr(meant)


@pytest.mark.parametrize("damage", [
    lambda raw: raw[:-1], lambda raw: raw + b"]", lambda raw: raw[:-2] + b",]",
    lambda raw: raw.replace(b"12.05", b"12.", 1), lambda raw: b"\xff\xfe\xfd" + raw,
    lambda raw: raw.replace(b"id", b"i\x01", 1), lambda raw: b"", lambda raw: b"[" * 200_000,
])  # fmt: skip
def test_an_answer_that_is_damaged_is_no_json(damage) -> None:
    with pytest.raises((ValueError, RecursionError)):
        payload.decode(damage(json.dumps([ROW] * 50).encode()))


# Books that are read again and again -----------------------------------------------------------

_BODIES = st.dictionaries(st.text(max_size=4), _VALUES | st.lists(_VALUES, max_size=6), max_size=3)


@given(bodies=st.lists(_BODIES, max_size=4))
def test_a_book_that_is_read_again_says_what_it_says(bodies: list[dict[str, Any]]) -> None:
    reader = payload.Rereader()
    for body in bodies:
        raw = json.dumps(body).encode()
        for _ in range(2):
            assert repr(reader.decode(raw)) == repr(payload.decode(raw))


@pytest.mark.parametrize("raw", [
    b"[1, 2]", b'{"a": [NaN]}', b'{"a": NaN}', b'\xef\xbb\xbf{"a": [1]}', b'{"a": ["\\ud800"]}',
    b'{"a": 1, "a": [2]}', b'{"a": [12.50, 1e3]}', b'{"a": []}', b"null", b'{"a":  [ null , 1 ]  }',
])  # fmt: skip
def test_odd_bodies_are_read_as_ever(raw: bytes) -> None:
    reader = payload.Rereader()
    for _ in range(2):
        assert repr(reader.decode(raw)) == repr(payload.decode(raw))


def test_only_what_is_new_in_a_book_is_read_anew() -> None:
    reader = payload.Rereader()
    first, second = ({**ROW, "id": number} for number in (1, 2))
    before = reader.decode(json.dumps({"result": [first, second]}).encode())["result"]
    changed = {**first, "price": 12.5}
    after = reader.decode(json.dumps({"result": [second, changed]}).encode())["result"]
    assert after[0] is before[1]
    assert after[1]["price"] == Decimal("12.5")


@pytest.mark.parametrize("damage", [
    lambda raw: raw[:-1], lambda raw: raw + b"]", lambda raw: raw[:-2] + b",]}",
    lambda raw: raw.replace(b"12.05", b"12.", 1), lambda raw: b"\xff\xfe\xfd" + raw,
    lambda raw: raw.replace(b"id", b"i\x01", 1), lambda raw: raw.replace(b"id", b"i\xff", 1),
    lambda raw: raw.replace(b"}, {", b"} {", 1), lambda raw: b'{"a":' * 200_000,
])  # fmt: skip
def test_a_book_that_is_damaged_is_no_json_however_often_it_was_read(damage) -> None:
    reader = payload.Rereader()
    raw = json.dumps({"type": "success", "result": [ROW, ROW]}).encode()
    reader.decode(raw)
    with pytest.raises((ValueError, RecursionError)):
        reader.decode(damage(raw))
