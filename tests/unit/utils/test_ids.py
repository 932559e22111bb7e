"""Identifiers: their alphabet, their order, and that none repeats."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from utils.config import ROOT
from utils.ids import CROCKFORD, new_reference, new_request_id, new_tag

FORTY_BITS = 1 << 40


def make_tags(count: int) -> list[str]:
    return [new_tag() for _ in range(count)]


def test_a_tag_is_what_xts_echoes() -> None:
    assert re.fullmatch(r"[A-Za-z0-9-]{20}", new_tag())


def test_a_reference_is_a_ulid() -> None:
    assert re.fullmatch(rf"[{CROCKFORD}]{{26}}", new_reference())


def test_a_request_id_is_a_trace_id_and_never_zero() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", new_request_id())
    assert new_request_id(lambda bits: 0) == "0" * 31 + "1"


@given(first=st.integers(0, FORTY_BITS - 1), second=st.integers(0, FORTY_BITS - 1))
def test_ids_sort_by_time(first: int, second: int) -> None:
    for make in (new_reference, new_tag):
        one = make(lambda: first, lambda bits: (1 << bits) - 1)
        two = make(lambda: second, lambda bits: 0)
        if first != second:
            assert (one < two) == (first < second)


@given(moment=st.integers(0, 1 << 45), chance=st.integers(0, (1 << 80) - 1))
def test_every_bit_counts(moment: int, chance: int) -> None:
    reference = new_reference(lambda: moment, lambda bits: chance)
    value = 0
    for character in reference:
        value = value * 32 + CROCKFORD.index(character)
    assert value == (moment << 80) + chance


def test_a_tag_keeps_its_length_when_the_time_wraps() -> None:
    assert new_tag(lambda: FORTY_BITS, lambda bits: 0) == "0" * 20
    assert len(new_tag(lambda: FORTY_BITS - 1, lambda bits: (1 << bits) - 1)) == 20


# In a process of its own: forking one that has other threads can leave the child a locked lock.
FORKED = """
import json
from multiprocessing import get_context
from utils.ids import new_tag

def make_tags(count):
    return [new_tag() for _ in range(count)]

make_tags(10)  # what a fork would copy, if there were anything
with get_context("fork").Pool(2) as processes:
    print(json.dumps([tag for tags in processes.map(make_tags, [2_000] * 4) for tag in tags]))
"""


def test_tags_are_unique_over_threads_and_processes() -> None:
    with ThreadPoolExecutor(8) as threads:
        ours = [tag for tags in threads.map(make_tags, [2_000] * 8) for tag in tags]
    forked = subprocess.run(
        [sys.executable, "-c", FORKED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert len(set(ours) | set(json.loads(forked.stdout))) == 24_000
