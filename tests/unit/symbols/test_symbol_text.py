"""The searchable text finds what a look at every line would find, in the same order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from database.symbol_text import SearchText, compress, lines_of

_WORDS = st.text(alphabet="AB1& -é", min_size=1, max_size=4)
_NAMES = st.dictionaries(_WORDS.filter(str.strip), st.text(alphabet="AB1 ", max_size=4), max_size=8)


def _slowly(
    contract: dict[str, dict[str, str]], query: str, limit: int
) -> list[tuple[str, str]]:
    """Exact, then prefix, then any part, then all words: a pass over every line for each."""
    needle = query.strip().upper()
    lines = [
        (exchange, symbol, f"{symbol}\x02{symbols[symbol].upper()}")
        for exchange, symbols in contract.items()
        for symbol in sorted(symbols, key=lambda one: f"{one}\x02{symbols[one].upper()}".encode())
    ]
    found = [
        (symbol, exchange)
        for fits in (
            lambda symbol, line: symbol == needle,
            lambda symbol, line: line.startswith(needle),
            lambda symbol, line: needle in line,
            lambda symbol, line: all(word in line for word in needle.split()),
        )
        for exchange, symbol, line in lines
        if fits(symbol, line)
    ]
    return list(dict.fromkeys(found))[:limit] if needle else []


@given(
    contract=st.dictionaries(st.sampled_from(["NSE", "NFO"]), _NAMES), query=_WORDS,
    limit=st.integers(1, 5),
)  # fmt: skip
def test_bisection_finds_what_a_pass_over_all_lines_finds(
    contract: dict[str, dict[str, str]], query: str, limit: int
) -> None:
    contract = {
        exchange: {symbol.upper(): name for symbol, name in symbols.items()}
        for exchange, symbols in contract.items()
    }
    texts = {
        exchange: compress(lines_of((symbol, name, "") for symbol, name in symbols.items()))
        for exchange, symbols in contract.items()
    }
    assert SearchText(texts).find(query, None, limit) == _slowly(contract, query, limit)
