"""The short soak: both kinds of rolling restart under load. `make soak` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operations.soak import TRADERS, show, soak


@pytest.mark.slow
def test_rolling_restarts_under_load_fail_no_request_and_lose_no_order(tmp_path: Path) -> None:
    result = soak(tmp_path, seconds=24, every=12)
    good = show(result)
    assert good, result.load.failures or result.report.wrong() or result.held()
    assert [generation.began_by for generation in result.generations] == [
        "start", "SIGHUP", "SIGUSR2",
    ]  # fmt: skip
    assert result.load.answers["order"] >= 10 * TRADERS
    assert result.load.answers["wrong key"] and result.load.answers["page"]
