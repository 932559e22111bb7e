"""Work that gives way shortens the interpreter's turns, as long as any of it runs."""

from __future__ import annotations

import sys

import pytest

from utils.turns import SHORT, giving_way


def test_turns_are_short_while_work_gives_way() -> None:
    usual = sys.getswitchinterval()
    assert usual > SHORT
    with giving_way():
        with giving_way():
            assert sys.getswitchinterval() == pytest.approx(SHORT)
        assert sys.getswitchinterval() == pytest.approx(SHORT)
    assert sys.getswitchinterval() == usual


def test_turns_are_as_before_after_an_error() -> None:
    usual = sys.getswitchinterval()
    with pytest.raises(ZeroDivisionError), giving_way():
        raise ZeroDivisionError
    assert sys.getswitchinterval() == usual
