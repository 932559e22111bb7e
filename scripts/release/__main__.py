"""`python3 -m scripts.release`: what `scripts/deploy.sh` runs."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.release.deploy import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path(__file__).resolve().parent.parent.parent))
