"""Long answers are parsed in steps, with the same result."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from types import FrameType
from typing import Any

import pytest

from broker import payload

ROW = {"id": 1, "price": 12.05, "text": "é\\n\u2028", "none": None, "deep": [{"a": [1, [2.5]]}, []]}


@pytest.mark.parametrize("shape", [
    lambda rows: {"type": "success", "result": rows, "after": 1.5},
    lambda rows: {"result": {"positionList": rows, "empty": []}},
    lambda rows: [{"type": "success", "result": rows}],
    lambda rows: rows,
])  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_long_answer_says_what_json_says(shape, encoding: str) -> None:  # type: ignore[no-untyped-def]
    text = json.dumps(shape([ROW] * 3000), ensure_ascii=False)
    raw = text.encode(encoding)
    assert len(raw) > payload.LONG
    assert payload.decode(raw) == json.loads(text, parse_float=Decimal)


@pytest.mark.parametrize("damage", [
    lambda raw: raw[:-1], lambda raw: raw + b"]", lambda raw: raw[:-2] + b",]",
    lambda raw: raw.replace(b"12.05", b"12.", 1), lambda raw: b"\xff\xfe\xfd" + raw,
    lambda raw: b"[" * 200_000,
])  # fmt: skip
def test_a_long_answer_that_is_damaged_is_no_json(damage) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises((ValueError, RecursionError)):
        payload.decode(damage(json.dumps([ROW] * 3000).encode()))


def test_the_interpreter_can_be_given_away_between_two_rows() -> None:
    """Python's threads take turns between two lines of Python, never inside the parser in C."""
    raw = json.dumps([ROW] * 3000).encode()
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        payload.decode(raw)
    finally:
        sys.settrace(before)
    assert lines >= 3000
