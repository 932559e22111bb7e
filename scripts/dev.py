"""What `make` calls: install, run, test, stop, reset and upgrade, with the standard library alone.

`python3 scripts/dev.py run` takes a fresh clone to a serving gateway; run it as often as you like.
This file has to be understood by every Python 3, so that an old one gets a sentence and not a
traceback; all that is newer is imported afterwards.
"""

import os
import sys

OLDEST = (3, 11)

if sys.version_info < OLDEST:
    sys.exit(
        "OpenAlgo brokers needs Python 3.11 or newer, and this is Python {}.{}: install a newer "
        "one and name it, for instance `make run PYTHON=python3.12`.".format(*sys.version_info)
    )

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from scripts.devtools.commands import main  # noqa: E402 - after the check of the version

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
