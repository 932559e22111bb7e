"""The example strategy: the decision on plain data, the runner against a served gateway."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest
from openalgo import api

from benchmarks.servers import PROFILE, Served
from examples.strategies.crossover import STRATEGY, main, parsed, trade_once, wanted_position

RISING = [100.0 + step for step in range(30)]
FALLING = RISING[::-1]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("strategy")) as gateway:
        yield gateway


def test_it_holds_a_position_while_the_fast_average_is_above() -> None:
    assert wanted_position(RISING, 5, 20, 7) == 7
    assert wanted_position(FALLING, 5, 20, 7) == 0


def test_it_does_nothing_on_too_few_candles_and_refuses_nonsense() -> None:
    assert wanted_position(RISING[:19], 5, 20, 7) is None
    with pytest.raises(ValueError, match="shorter"):
        wanted_position(RISING, 20, 5, 7)


def test_a_round_trades_through_the_gateway_and_repeating_it_adds_nothing(
    served: Served,
) -> None:
    client = api(api_key=served.key, host=served.url)
    options = parsed(["--symbol", "RELIANCE", "--host", served.url, "--fast", "1", "--slow", "2"])
    today = date.today()  # noqa: DTZ011 - what main does
    held = 0
    for _ in range(3):
        before = len(served.simulator.orders(PROFILE))
        said = trade_once(client, options, today)
        wanted = int(said.removeprefix("position ").split()[0])
        sent = len(served.simulator.orders(PROFILE)) - before
        assert sent == (wanted != held), said
        answer = client.openposition(
            strategy=STRATEGY, symbol="RELIANCE", exchange="NSE", product="MIS"
        )
        held = int(answer["quantity"])
        assert held == wanted


def test_without_a_key_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENALGO_API_KEY", raising=False)
    assert main(["--symbol", "RELIANCE", "--once"]) == 2
    assert "OPENALGO_API_KEY" in capsys.readouterr().err
