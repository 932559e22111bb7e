"""Whether a downloaded master contract is plausible enough to take the place of the live one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

LARGEST_SHRINK = 0.20
"""A contract with a fifth fewer rows of an exchange than the live one is refused."""

LARGEST_BAD_SHARE = 0.20
"""Where a fifth of the rows can't be read, the layout has changed."""


def doubts(
    live: Mapping[str, int],
    staged: Mapping[str, int],
    bad_rows: int,
    exchanges: Collection[str] | None = None,
) -> list[str]:
    """What speaks against the staged contract, in sentences; empty when nothing does.

    `live` and `staged` are rows by exchange; `exchanges` the ones that were asked for (None: all).
    """
    found: list[str] = []
    total = sum(staged.values())
    if bad_rows > LARGEST_BAD_SHARE * (total + bad_rows):
        found.append(
            f"{bad_rows:,} of {total + bad_rows:,} rows could not be read: the layout of the "
            "broker's master contract has changed"
        )
    for exchange, before in sorted(live.items()):
        if exchanges is not None and exchange not in exchanges:
            continue
        now = staged.get(exchange, 0)
        if now == 0:
            found.append(f"{exchange} has no rows, where it had {before:,}")
        elif now < (1 - LARGEST_SHRINK) * before:
            found.append(f"{exchange} shrank from {before:,} rows to {now:,}")
    return found
