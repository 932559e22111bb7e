"""What storage raises. None of these messages holds a secret or a statement's parameters."""

from __future__ import annotations

UNREACHABLE = "the database is not available: "
"""How the message of `DatabaseUnavailable` begins where the driver's own words follow."""


class StorageError(Exception):
    """Root of the errors of this package."""


class DatabaseUnavailable(StorageError):
    """The database can't be reached, is full, or stayed locked: nothing was committed."""


class AlreadyExists(StorageError):
    """A row with this unique name or key is there already."""


class NoSuchRow(StorageError):
    """The row that a change names does not exist."""


class IllegalTransition(StorageError):
    """An order's journal refuses this change of state: history is not rewritten."""

    def __init__(self, intent_id: int, current: str, wanted: str) -> None:
        super().__init__(f"order intent {intent_id} is {current}, it can't become {wanted}")
        self.intent_id = intent_id
        self.current = current
        self.wanted = wanted
