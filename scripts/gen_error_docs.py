"""Writes `docs/errors.md` from the error classes in `broker.errors`.

Run it after a change of an error: `python scripts/gen_error_docs.py`. `--check` writes nothing and
exits with 1 when the page differs from what the classes say.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from broker.errors import ALL_ERRORS, BrokerError, Fate  # noqa: E402 - after the path

PAGE = ROOT / "docs" / "errors.md"

FATES = {
    Fate.NOT_SENT: "not sent",
    Fate.REFUSED: "refused",
    Fate.UNKNOWN: "**unknown**",
    Fate.NONE: "–",
}

INTRODUCTION = """\
<!-- Written by scripts/gen_error_docs.py from broker/errors.py; change it there. -->

# What can go wrong with a broker

Every error says two things: **what happened to the order**, and **what helps**. The HTTP status,
whether a call may be repeated, the label in the metrics and this page all follow from the class.

The answer of the REST API is one flat object, whose `message` stands alone:

```json
{"status": "error", "code": "connect_failed", "message": "Connection failed …; nothing was sent."}
```

- *not sent*: provably nothing reached the broker.
- *refused*: the broker said no; there is no such order.
- *unknown*: the broker may have acted on it. Never send it again on a guess: ask with the
  reference that stands in the message, or wait for the reconciler.
- *–*: the call was a read; nothing was learnt.

| Code | The order | What helps | HTTP | Class |
|---|---|---|---|---|
"""


def page() -> str:
    """The whole page as Markdown."""
    rows = [
        f"| [`{error.kind}`](#{error.kind}) | {FATES[error.fate]} | {error.remedy} "
        f"| {error.http_status} | `{error.__name__}` |\n"
        for error in ALL_ERRORS
    ]
    return INTRODUCTION + "".join(rows) + "".join(_section(error) for error in ALL_ERRORS)


def _section(error: type[BrokerError]) -> str:
    text = " ".join((error.__doc__ or "").split())
    parent = error.__mro__[1]
    kind = "" if parent is BrokerError else f" It is a kind of `{getattr(parent, 'kind', '')}`."
    return f"\n## {error.kind}\n\n{text}{kind}\n"


def main(arguments: list[str]) -> int:
    """Write the page, or only compare it."""
    current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page()
    if current:
        return 0
    if "--check" in arguments:
        print("docs/errors.md is not what broker/errors.py says")
        return 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print("wrote docs/errors.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
