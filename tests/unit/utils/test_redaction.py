"""Registered secrets leave every text, however they are spelt in it."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus, urlencode

from hypothesis import given
from hypothesis import strategies as st

from utils.redaction import MASK, SHORTEST, Redactor, redact, register_secret

AWKWARD = 'Sim#b$10"01\\ü /+'


def test_a_secret_is_removed_wherever_it_stands() -> None:
    redactor = Redactor()
    redactor.register(AWKWARD)
    assert redactor.redact(f"a{AWKWARD}b{AWKWARD}") == f"a{MASK}b{MASK}"


@given(secret=st.text(min_size=SHORTEST, max_size=40))
def test_every_spelling_is_removed(secret: str) -> None:
    redactor = Redactor()
    redactor.register(secret)
    spellings = [
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps({"k": secret})),
    ]
    spellings += [quote(secret, safe=""), quote_plus(secret), urlencode({"k": secret})]
    for text in spellings:
        assert MASK in redactor.redact(text)
        assert secret not in redactor.redact(text).replace(MASK, "")


def test_half_a_character_is_no_obstacle() -> None:
    redactor = Redactor()
    redactor.register("broken-\udc80-secret")
    assert redactor.redact("a broken-\udc80-secret") == f"a {MASK}"


def test_the_longest_secret_goes_first() -> None:
    redactor = Redactor()
    redactor.register("secret", "secret-and-more")
    assert redactor.redact("secret-and-more") == MASK


def test_short_values_are_not_registered() -> None:
    redactor = Redactor()
    redactor.register("abc", "")
    assert redactor.redact("abc abc") == "abc abc"


def test_passing_secrets_make_room_and_lasting_ones_stay() -> None:
    redactor = Redactor(capacity=2)
    redactor.register("lasting-secret", lasting=True)
    redactor.register("token-number-1", "token-number-2")
    redactor.register("token-number-1")
    redactor.register("token-number-3", "lasting-secret")
    text = "lasting-secret token-number-1 token-number-2 token-number-3"
    assert redactor.redact(text) == f"{MASK} {MASK} token-number-2 {MASK}"


def test_the_process_has_one_redactor() -> None:
    register_secret(None, "process-wide-canary")
    assert redact("a process-wide-canary") == f"a {MASK}"
