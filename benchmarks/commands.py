"""Runs several of the gateway's commands in one process, because starting one costs a second.

Standard input: a JSON list of [arguments, input]. Standard output: a JSON list of what they said.
The first one that fails is told on standard error, and is the last one.
"""

from __future__ import annotations

import json
import os
import sys

from click.testing import CliRunner
from flask.cli import FlaskGroup, ScriptInfo

from app import create_app


def main() -> int:
    """Run the commands in their order; 1 when one fails."""
    os.environ["FLASK_RUN_FROM_CLI"] = "true"
    app = create_app()
    group = FlaskGroup(create_app=create_app)
    said: list[str] = []
    for arguments, given in json.load(sys.stdin):
        info = ScriptInfo(create_app=lambda: app)
        result = CliRunner().invoke(group, arguments, input=given, obj=info)
        if result.exit_code != 0:
            print(f"flask {' '.join(arguments)}: {result.output}", file=sys.stderr)
            return 1
        said.append(result.stdout)
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
