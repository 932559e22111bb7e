"""The last line against a secret in a log: registered values are removed from whatever comes out.

The first line is a type: `SecretStr` and `Secret` print as stars. This one catches what slips
past types, such as a library's exception that quotes a header. Whoever obtains a secret (settings,
a login, a new API key) calls `register_secret`.
"""

from __future__ import annotations

import json
import threading
from urllib.parse import quote, quote_plus

MASK = "***"

SHORTEST = 6
"""Shorter values are not registered: they would cut holes into ordinary words."""

CAPACITY = 256
"""How many passing secrets (tokens, new keys) are remembered; the newest stay."""


class Redactor:
    """The secret values of a process, and the means to take them out of a text. Thread-safe.

    Lasting values (configuration, accounts) stay for good. Passing ones (session tokens) make
    room for newer ones, so that sessions renewed for years do not grow the process.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lasting: dict[str, None] = {}
        self._passing: dict[str, None] = {}
        self._forms: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def register(self, *values: str, lasting: bool = False) -> None:
        """Remember secret values. Too short ones are ignored."""
        kept = [value for value in values if len(value) >= SHORTEST]
        with self._lock:
            for value in kept:
                self._passing.pop(value, None)
                if lasting:
                    self._lasting[value] = None
                elif value not in self._lasting:
                    self._passing[value] = None
            while len(self._passing) > self._capacity:
                del self._passing[next(iter(self._passing))]
            forms = {form for value in (*self._lasting, *self._passing) for form in _forms(value)}
            self._forms = tuple(sorted(forms, key=len, reverse=True))

    def redact(self, text: str) -> str:
        """The text with every registered value replaced by stars, the longest first."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text


def _forms(value: str) -> set[str]:
    """How a value looks in plain text, in a URL, in JSON and in a Python literal."""
    in_urls = {quote(value, safe="", errors="replace"), quote_plus(value, errors="replace")}
    forms = {value, repr(value)[1:-1]} | in_urls
    for ascii_only in (True, False):
        once = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        forms |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
    return forms


_of_this_process = Redactor()


def register_secret(*values: str | None, lasting: bool = False) -> None:
    """Have these values removed from every log line of this process from now on."""
    _of_this_process.register(*(value for value in values if value), lasting=lasting)


def redact(text: str) -> str:
    """`text` without any registered secret."""
    return _of_this_process.redact(text)
