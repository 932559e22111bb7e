"""Writes `.env.example` and `docs/configuration.md` from the settings class.

Run it after a change of a setting: `python scripts/gen_config_docs.py`. `--check` writes nothing
and exits with 1 when a file differs from what the class says.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from utils.settings.documents import configuration_page, env_example  # noqa: E402 - after the path


def main(arguments: list[str]) -> int:
    """Write both files, or only compare them."""
    wanted = {
        ROOT / ".env.example": env_example(),
        ROOT / "docs" / "configuration.md": configuration_page(),
    }
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is not what the settings say")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
