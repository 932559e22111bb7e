"""Runs programs: argument lists, a time-out, and their words in the log when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class CommandFailed(Exception):
    """A program that is not there, took too long, or ended with another status than 0.

    `output` is what it printed before, if anything; `status` its exit status, None without one;
    `said` the message without the command.
    """

    def __init__(
        self, message: str, output: str = "", status: int | None = None, said: str = ""
    ) -> None:
        super().__init__(message)
        self.output = output
        self.status = status
        self.said = said or message


def run(
    command: Sequence[str],
    *,
    seconds: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    stdin: Path | None = None,
    stdout: Path | None = None,
    text: str = "",
) -> str:
    """What the program printed. `CommandFailed` with its last words when it did not succeed."""
    options: dict[str, Any] = {}
    if user is not None and os.geteuid() == 0:
        options = {"user": user, "group": user, "extra_groups": []}
    source = stdin.open("rb") if stdin else None
    sink = stdout.open("wb") if stdout else None
    if text:
        options["input"] = text.encode()
    else:
        options["stdin"] = source or subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, cwd=cwd, env=None if env is None else dict(env),
            stdout=sink or subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, check=False,
            **options,
        )
    except OSError as error:
        raise CommandFailed(f"{command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{command[0]} took more than {seconds:g} s") from None
    finally:
        for stream in (source, sink):
            if stream is not None:
                stream.close()
    output = (done.stdout or b"").decode(errors="replace")
    if done.returncode != 0:
        # supervisorctl, for one, complains on its standard output.
        words = (done.stderr or b"").decode(errors="replace").strip() or output.strip()
        said = " ".join(words.splitlines()[-3:]) or f"status {done.returncode}"
        front = " ".join(command[:4]) + (" …" if command[4:] else "")
        raise CommandFailed(f"{front}: {said}", output, done.returncode, said)
    return output
