"""Starts the process that loads a master contract: `python -m services.contract_process`.

Orders go first, also before what this process imports, which is a third of a second of work: so the
priority goes down before anything else happens.
"""

from __future__ import annotations

import os
from contextlib import suppress

_NICENESS = 10


def main() -> int:
    """Make way, then carry out the order that comes in on standard input."""
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICENESS)
    from services.master_contract_worker import main as work

    return work()


if __name__ == "__main__":
    raise SystemExit(main())
