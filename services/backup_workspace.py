"""A folder for what is not sealed yet, which does not outlive whoever works in it.

While a backup is made or opened, the database and the variables of the instance lie open. Whoever
is ended by `kill -9` or a power cut can't tidy up; so a workspace is held by a lock that the system
releases, and those that nobody holds are deleted when the next one is opened.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_PREFIX = ".work-"
_NEW = 60  # seconds in which a folder may be made and not held yet


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """An empty folder in `parent`, gone afterwards; those that others left there go before."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    delete_left_over(parent)
    work = Path(tempfile.mkdtemp(dir=parent, prefix=_PREFIX))
    try:
        handle = os.open(work, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield work
        finally:
            os.close(handle)
        shutil.rmtree(work)
    finally:  # also when the signal to stop comes while it is deleted
        shutil.rmtree(work, ignore_errors=True)


def delete_left_over(parent: Path) -> None:
    """Delete the workspaces in `parent` that nobody holds any more."""
    for path in parent.glob(f"{_PREFIX}*"):
        try:
            if time.time() - path.stat().st_mtime > _NEW and not _is_held(path):
                shutil.rmtree(path)
                log.warning("deleted what an interrupted backup left: %s", path)
        except FileNotFoundError:
            continue  # its owner was faster
        except OSError as error:
            log.error("what an interrupted backup left can't be deleted: %s", error)


def _is_held(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
