"""How a rescue ends: one exit status a failure, and what to do about each.

The numbers are part of the interface (runbooks name them): a number is never given a new meaning.
"""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The exit statuses of `scripts/rollback.sh`."""

    OK = 0
    USAGE = 2
    DECLINED = 3
    BUSY = 4
    NOT_FOUND = 5
    ORDERS_LEFT = 10
    POSITIONS_LEFT = 11
    NOT_DISABLED = 20
    SYMBOLS_NOT_REMOVED = 30
    BACKUP_NOT_RESTORED = 31
    NO_RELEASE = 40
    NOT_SWITCHED = 41
    NOT_STARTED = 42
    NO_ANSWER = 50
    STILL_LISTED = 51
    OTHERS_BROKEN = 52
    ERRORS_LOGGED = 53
    NOTHING_TO_UNDO = 60
    NOT_BROUGHT_BACK = 61


MEANING = {
    Status.OK: "done, and verified",
    Status.USAGE: "the command line is wrong, or a question cannot be asked here: add --yes",
    Status.DECLINED: "you said no; nothing was changed after that",
    Status.BUSY: "another rollback is running",
    Status.NOT_FOUND: "the installation was not recognised: name it with --app and --env-file",
    Status.ORDERS_LEFT: "--cancel-orders did not end every working order; entries are stopped",
    Status.POSITIONS_LEFT: "--square-off did not close every position; entries are stopped",
    Status.NOT_DISABLED: "step 1: the broker could not be switched off anywhere",
    Status.SYMBOLS_NOT_REMOVED: "step 2: the symbols could not be removed",
    Status.BACKUP_NOT_RESTORED: "step 2: the backup could not be restored",
    Status.NO_RELEASE: "step 3: there is no previous release: name one with --to, or --keep-code",
    Status.NOT_SWITCHED: "step 3: the code could not be exchanged",
    Status.NOT_STARTED: "step 3: the service could not be stopped or started",
    Status.NO_ANSWER: "step 4: the gateway does not answer",
    Status.STILL_LISTED: "step 4: the broker is still offered",
    Status.OTHERS_BROKEN: "step 4: another broker does not work",
    Status.ERRORS_LOGGED: "step 4: the logs have errors since the start",
    Status.NOTHING_TO_UNDO: "--undo: no rollback is on record",
    Status.NOT_BROUGHT_BACK: "--undo: the broker is not offered, or its symbols are not there",
}


class Failed(Exception):
    """A step that did not succeed: the status to end with, and a sentence for the operator.

    `hint` is what to do next, filled in by whoever knows.
    """

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.hint = ""
