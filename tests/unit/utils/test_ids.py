"""Identifiers: their alphabet, their order, and that none repeats."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
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
# Bare forks: a pool ends its workers by a signal, and one that held a lock then hung the test.
FORKED = """
import os
from utils.ids import new_tag

new_tag()  # what a fork would copy, if there were anything
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        with open(f"{number}.txt", "w") as file:
            file.write("\\n".join(new_tag() for _ in range(2_000)))
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
"""


def test_tags_are_unique_over_threads_and_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(8) as threads:
        ours = [tag for tags in threads.map(make_tags, [2_000] * 8) for tag in tags]
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subprocess.run([sys.executable, "-c", FORKED], cwd=tmp_path, check=True, timeout=60)
    forked = [tag for file in tmp_path.glob("*.txt") for tag in file.read_text().split()]
    assert len(set(ours) | set(forked)) == 24_000
