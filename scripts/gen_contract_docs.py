"""Writes `docs/contract.md`: the cards of the contract suite, from their names and docstrings.

Run it after a change of a card: `python scripts/gen_contract_docs.py`. `--check` writes nothing
and exits with 1 when the page differs from the cards.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from broker.testing.cards.base import SUBMIT_OUTCOMES, Cards  # noqa: E402 - after the path
from broker.testing.contract import BrokerContract  # noqa: E402 - after the path

PAGE = ROOT / "docs" / "contract.md"
_CARD = re.compile(r"test_c(\d+)_(\d+)_(\w+)")

INTRODUCTION = '''\
<!-- Written by scripts/gen_contract_docs.py from broker/testing/; change it there. -->

# The contract of a broker package

Every broker passes the same cards, with no account needed: they run against a double of the venue
(for brokers that speak XTS, the simulator). The suite ships with the library:

```python
from broker.testing.contract import BrokerContract

class TestMyBroker(BrokerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls):
        with MyVenue() as venue:
            yield venue
```

`MyVenue` is a `BrokerHarness` (`broker/testing/harness.py`): it says how to reach the double, what
the double has seen, and how to make trouble, in nobody's wire language. The one of the XTS brokers
is `tests/contract/xts_venue.py`. What a double cannot do, or a broker does not offer, is shown as
skipped, with the reason. Beside the cards stand golden triples (`broker/testing/golden.py`): a
call, its exact requests, the answers, and the model that must come out
(`tests/fixtures/<broker>/`).

A card keeps its number for good; the gaps leave room for new ones.
'''


def page() -> str:
    """The whole page as Markdown."""
    groups = [each for each in BrokerContract.__mro__ if each is not Cards and _cards(each)]
    return INTRODUCTION + "".join(map(_group, groups)) + _outcomes()


def _cards(group: type) -> list[tuple[str, str, str]]:
    """(number, sentence, remark) of a group's own cards, in order."""
    found = []
    for name, member in vars(group).items():
        match = _CARD.fullmatch(name)
        if match:
            chapter, number, words = match.groups()
            remark = " ".join((inspect.getdoc(member) or "").split())
            found.append((f"C{chapter}.{number}", words.replace("_", " "), remark))
    return sorted(found, key=lambda card: card[0])


def _group(group: type) -> str:
    module = inspect.getmodule(group)
    title = " ".join((inspect.getdoc(module) or "").split()).rstrip(".")
    rows = [
        f"| {number} | {words}{f'. {remark}' if remark else ''} |\n"
        for number, words, remark in _cards(group)
    ]
    return f"\n## {title}\n\n| Card | |\n|---|---|\n" + "".join(rows)


def _outcomes() -> str:
    rows = [
        f"| {trouble.value} | "
        + ("success |\n" if outcome is None else f"{outcome[1].value.replace('_', ' ')} |\n")
        for trouble, outcome in SUBMIT_OUTCOMES.items()
    ]
    return (
        "\n## What a submit must say under each trouble (C4.040, C5.080, C5.090)\n\n"
        "One request each, whatever happens.\n\n| What happens | The order |\n|---|---|\n"
        + "".join(rows)
    )


def main(arguments: list[str]) -> int:
    """Write the page, or only compare it."""
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    if "--check" in arguments:
        print("docs/contract.md is not what the cards say")
        return 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print("wrote docs/contract.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
