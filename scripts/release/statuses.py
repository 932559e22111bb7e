"""How a deployment ends: one exit status a failure. A number is never given a new meaning."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The exit statuses of `scripts/deploy.sh`."""

    OK = 0
    USAGE = 2
    DECLINED = 3
    BUSY = 4
    NOT_FOUND = 5
    CHECKS_FAILED = 10
    NOT_INSTALLED = 11
    NOT_BACKED_UP = 12
    NOT_MIGRATED = 13
    NOT_SWITCHED = 14
    TAKEN_BACK_NOT_READY = 20
    TAKEN_BACK_SMOKE = 21
    TAKEN_BACK_WATCH = 22
    NOT_TAKEN_BACK = 30


MEANING = {
    Status.OK: "the version serves, and nothing spoke against it",
    Status.USAGE: "the command line is wrong, or a question cannot be asked here: add --yes",
    Status.DECLINED: "you said no; nothing was changed",
    Status.BUSY: "another deployment or rollback is running",
    Status.NOT_FOUND: "the installation was not recognised: name it with --app and --env-file",
    Status.CHECKS_FAILED: "a pre-deployment check failed; nothing was changed",
    Status.NOT_INSTALLED: "the release could not be installed; the old one serves",
    Status.NOT_BACKED_UP: "the backup before it failed; the old release serves",
    Status.NOT_MIGRATED: "the migration failed, and changed nothing; the old release serves",
    Status.NOT_SWITCHED: "the code or the service could not be exchanged; see the line above",
    Status.TAKEN_BACK_NOT_READY: "the new version did not serve; the old one serves again",
    Status.TAKEN_BACK_SMOKE: "the smoke test failed; the old version serves again",
    Status.TAKEN_BACK_WATCH: "a trigger of the watch; the old version serves again",
    Status.NOT_TAKEN_BACK: "it failed AND could not be taken back: scripts/rollback.sh, by hand",
}


class Failed(Exception):
    """A step that did not succeed: the status to end with, and a sentence for the operator."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
