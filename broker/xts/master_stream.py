"""The master contract's answer, one JSON string of many megabytes, as rows in constant memory.

The answer is `{"type":…,"result":"row\\nrow\\n…"}` (XTS reference §9): what stands before and after
the string is kept and judged as the envelope it is, the string itself is cut into rows as it
arrives. A download that ends before its closing quote raises: a short list is never told as whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal

from broker.errors import OutcomeUnknown, ProtocolError

_RESULT = re.compile(rb'"result"\s*:\s*"')
_MAX_FRAME = 1 << 20  # bytes of envelope around the string; far more than any error body
_MAX_ROW = 1 << 20  # bytes without a single row end
_QUOTE, _BACKSLASH = ord('"'), ord("\\")

Envelope = dict[str, object]


def rows(chunks: Iterator[bytes], check: Callable[[Envelope], None]) -> Iterator[list[str]]:
    """The rows in runs, as they arrive. `check` is given the envelope, without its `result`.

    `check` is called when the envelope is complete, which is after the last row; it raises when
    the envelope says something else than success. Raises `OutcomeUnknown` when the answer breaks
    off or is no JSON, `ProtocolError` when it holds no text under `result`.
    """
    head, rest = _head(chunks, check)
    if head is None:
        return
    tail = bytearray()
    yield from _string(rest, chunks, tail)
    for chunk in chunks:
        tail += chunk
        if len(tail) > _MAX_FRAME:
            raise ProtocolError("The master contract is followed by something that is no envelope.")
    envelope = _parse(head + b'""' + bytes(tail))
    if envelope is None:
        raise OutcomeUnknown("The master contract broke off before its end.")
    check(envelope)


def _head(chunks: Iterator[bytes], check: Callable[[Envelope], None]) -> tuple[bytes | None, bytes]:
    """What stands before the string, and the beginning of the string.

    None when the whole answer holds no such string: `check` has then accepted an answer that says
    "nothing there".
    """
    held = bytearray()
    for chunk in chunks:
        held += chunk
        found = _RESULT.search(held)
        if found is not None:
            return bytes(held[: found.end() - 1]), bytes(held[found.end() :])
        if len(held) > _MAX_FRAME:
            raise ProtocolError("The master contract does not begin with an envelope.")
    envelope = _parse(bytes(held))
    if envelope is None:
        raise OutcomeUnknown("The broker answered the master contract with something else.")
    check(envelope)
    result = envelope.get("result")
    if result not in (None, "", [], {}):
        raise ProtocolError("The broker's master contract is not a text.")
    return None, b""


def _string(start: bytes, chunks: Iterator[bytes], tail: bytearray) -> Iterator[list[str]]:
    """Cut the string into runs of whole rows; what follows its closing quote goes into `tail`."""
    held = start
    searched = 0
    while True:
        end = _closing_quote(held, searched)
        if end >= 0:
            tail += held[end + 1 :]
            if end:
                yield _decode(held[:end])
            return
        cut = _last_row_end(held)
        if cut > 0:
            yield _decode(held[: cut - 2])
            held = held[cut:]
        elif len(held) > _MAX_ROW:
            raise ProtocolError("The master contract holds a row without an end.")
        # A backslash at the very end may belong to an escape that is cut in two: look again.
        searched = max(0, len(held) - 2)
        chunk = next(chunks, None)
        if chunk is None:
            raise OutcomeUnknown("The master contract broke off in the middle.")
        held += chunk


def _closing_quote(held: bytes, start: int) -> int:
    """Where the string's closing quote stands, -1 when it is not there yet."""
    at = held.find(b'"', start)
    while at >= 0 and _escaped(held, at):
        at = held.find(b'"', at + 1)
    return at


def _last_row_end(held: bytes) -> int:
    """The index behind the last `\\n` escape, 0 when there is none."""
    at = held.rfind(b"\\n")
    while at >= 0 and _escaped(held, at):
        at = held.rfind(b"\\n", 0, at)
    return at + 2 if at >= 0 else 0


def _escaped(held: bytes, at: int) -> bool:
    """Whether an odd number of backslashes stands before this byte."""
    count = 0
    while at - count > 0 and held[at - count - 1] == _BACKSLASH:
        count += 1
    return count % 2 == 1


def _decode(block: bytes) -> list[str]:
    """A run of rows as text: by hand where the only escape is the row end, else by JSON."""
    text = block.decode("utf-8", "replace")
    cut = text.split("\\n")
    if text.count("\\") == len(cut) - 1:
        return cut
    try:
        whole: str = json.loads(f'"{text}"', strict=False)
    except ValueError:
        raise ProtocolError("The master contract holds a broken escape.") from None
    return whole.split("\n")


def _parse(raw: bytes) -> Envelope | None:
    try:
        body = json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
