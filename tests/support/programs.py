"""Programs that tests of the deployment run, and where they are found.

Besides PATH and the places of daemons, the folder of the operations' tools is searched: a virtual
environment of its own, filled from requirements-ops.txt (`OPS_TOOLS`, `.cache/ops-tools` else).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OPS_TOOLS = Path(os.environ.get("OPS_TOOLS") or ROOT / ".cache" / "ops-tools")

PROGRAMS = {
    "nginx": ("nginx",),
    "supervisor": ("supervisord", "supervisorctl"),
    "systemd": ("systemd-analyze",),
    "prometheus": ("prometheus", "promtool", "amtool"),
    "logrotate": ("logrotate",),
    "hadolint": ("hadolint",),
    "compose": ("docker-compose",),
    "jsonschema": ("check-jsonschema",),
    "ansible": ("ansible-playbook", "ansible-lint"),
    "actionlint": ("actionlint",),
}
"""The programs that a test with this mark needs."""


def find(name: str) -> str | None:
    """The path of a program, None where it is not installed."""
    places = f"{os.environ.get('PATH', '')}:{OPS_TOOLS / 'bin'}:/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(name, path=places)


def program(name: str) -> str:
    """The path of a program that is there."""
    found = find(name)
    assert found is not None, name
    return found


def missing(mark: str) -> str | None:
    """What a test with this mark lacks here, in words; None when nothing."""
    names = [name for name in PROGRAMS[mark] if find(name) is None]
    return f"no {' and no '.join(names)} (.ci/run installs it)" if names else None
