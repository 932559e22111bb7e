"""The master contract's one long string, cut into rows as it arrives (XTS reference §9)."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import OutcomeUnknown, ProtocolError
from broker.xts.master_stream import Envelope, rows


def cut(body: bytes, size: int) -> Iterator[bytes]:
    return iter([body[at : at + size] for at in range(0, len(body), size)])


def read(body: bytes, size: int = 7) -> tuple[list[str], list[Envelope]]:
    checked: list[Envelope] = []
    found = [row for run in rows(cut(body, size), checked.append) for row in run]
    return found, checked


def answer(text: str, *, ascii_only: bool = True, **more: object) -> bytes:
    body = {"type": "success", "code": "s", "description": "", "result": text, **more}
    return json.dumps(body, ensure_ascii=ascii_only).encode()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 100_000])
def test_rows_whatever_the_chunks(size: int) -> None:
    found, checked = read(answer("a|1\nb|2\nc|3", extra=5), size)
    assert found == ["a|1", "b|2", "c|3"]
    assert checked == [
        {"type": "success", "code": "s", "description": "", "result": "", "extra": 5}
    ]


@given(
    texts=st.lists(st.text(max_size=12).filter(lambda t: "\n" not in t), min_size=1, max_size=20),
    size=st.integers(1, 40),
    ascii_only=st.booleans(),
)
def test_any_text_comes_through_any_cut(texts: list[str], size: int, ascii_only: bool) -> None:
    joined = "\n".join(texts).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    found, _ = read(answer(joined, ascii_only=ascii_only), size)
    assert [row for row in found if row] == [row for row in joined.split("\n") if row]


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_escapes_and_utf8_over_chunk_borders(size: int) -> None:
    text = 'M&M|"quoted"|back\\slash|\\n literal\ncafé|₹|\u2028\tend\\'
    for ascii_only in (True, False):
        found, _ = read(answer(text, ascii_only=ascii_only), size)
        assert found == text.split("\n")


def test_an_empty_segment() -> None:
    found, checked = read(answer(""))
    assert found == []
    assert len(checked) == 1


@pytest.mark.parametrize("cut_at", [10, 60, -1, -3, -12])
def test_a_download_that_breaks_off_is_never_a_short_list(cut_at: int) -> None:
    body = answer("a|1\nb|2\nc|3\nd|4")
    with pytest.raises(OutcomeUnknown):
        read(body[:cut_at])


def test_the_end_of_the_string_is_not_the_end_of_the_answer() -> None:
    with pytest.raises(OutcomeUnknown):
        read(answer("a|1\nb|2")[:-1])


def test_what_the_envelope_says_counts_after_the_last_row() -> None:
    def refuse(envelope: Envelope) -> None:
        raise ProtocolError(str(envelope["type"]))

    body = b'{"result":"a|1\\nb|2","type":"error"}'
    found: list[str] = []
    with pytest.raises(ProtocolError, match="error"):
        for run in rows(cut(body, 5), refuse):
            found.extend(run)
    assert found == ["a|1", "b|2"]


@pytest.mark.parametrize("result", [b'{"a":1}', b"[1]", b"7"])
def test_a_result_that_is_no_text(result: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(b'{"type":"success","result":' + result + b"}")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"type":"suc', b"null"])
def test_something_else_than_an_envelope(body: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        read(body)


def test_an_error_envelope_is_handed_to_the_check() -> None:
    found, checked = read(b'{"type":"error","code":"e-session-0007","result":{}}')
    assert found == []
    assert checked[0]["code"] == "e-session-0007"


def test_endless_answers_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.xts.master_stream._MAX_FRAME", 50)
    monkeypatch.setattr("broker.xts.master_stream._MAX_ROW", 50)
    with pytest.raises(ProtocolError, match="begin"):
        read(b"x" * 200)
    with pytest.raises(ProtocolError, match="without an end"):
        read(b'{"result":"' + b"x" * 200)
    with pytest.raises(ProtocolError, match="followed"):
        read(b'{"result":"a"' + b"x" * 200)


def test_a_broken_escape() -> None:
    with pytest.raises(ProtocolError, match="escape"):
        read(b'{"type":"success","result":"a\\x|1\\nb"}')


def test_memory_does_not_grow_with_the_answer() -> None:
    row = "NSEFO|119476|2|NATIONALUM|" + "x" * 120 + "\\n"
    block = (row * 450).encode()

    def chunks() -> Iterator[bytes]:
        yield b'{"type":"success","result":"'
        for _ in range(200):
            yield block
        yield b'"}'

    tracemalloc.start()
    count = sum(len(run) for run in rows(chunks(), lambda envelope: None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count > 80_000
    assert peak < 2_000_000
